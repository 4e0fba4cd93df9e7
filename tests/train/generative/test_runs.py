"""A run of each recipe: what it trains, what it leaves, what it logs, and how it resumes."""

import hashlib
import itertools
import json
import re

import pytest
import torch
from safetensors.torch import load_file

from decoder_runs import RECIPES, decoder_config, decoder_options, train_decoder
from runs import ADVERSARIAL, logged, new_process, resumed_equals_whole
from samples import PHOTOS
from vistok.tokenizer.decoders.noise import seeded_noise
from vistok.tokenizer.folder.decoders import load_decoder
from vistok.tokenizer.folder.save_load import load_tokenizer
from vistok.train.export_run import export_run
from vistok.train.finite_check import DivergedError, check_weights
from vistok.train.loop import train
from vistok.train.run import Run
from vistok.train.run_parts import compiled_at, trained_networks
from vistok.train.step import train_step

LOSSES = {"gan": ["l1"], "flow": ["flow"], "distill": ["distillation"], "fgm": ["matching"]}


def digests(folder):
    files = [path for path in folder.rglob("*") if path.is_file() and "generative" not in path.parts]
    return {path.relative_to(folder): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


@pytest.mark.parametrize("recipe", RECIPES)
def test_a_recipe_trains_its_decoder_and_leaves_the_tokenizer_as_it_is(tmp_path, tokenizer_folder, flow_folder, recipe):
    watched = [f"data.val={PHOTOS}", "run.validate_every=1", "run.log_every=1"]
    start = tokenizer_folder if recipe == "gan" else flow_folder
    folder = train_decoder(tmp_path, start, recipe, *watched, teacher=flow_folder, steps=2)
    assert digests(folder) == digests(flow_folder) == digests(tokenizer_folder)
    last = [line for line in logged(tmp_path) if "loss/total" in line][-1]
    assert {f"loss/{name}" for name in [*LOSSES[recipe], "total"]} == {name for name in last if name.startswith("loss")}
    assert {"spread/seeds", "spread/residual"} <= set(last)
    assert ({"fake/loss", "matching/distance"} <= set(last)) is (recipe == "fgm")
    model = load_tokenizer(folder).model
    decoder = load_decoder(folder, "generative", model)
    assert decoder.steps == (2 if recipe == "flow" else 1) and decoder.scale > 0
    assert {path.name for path in (tmp_path / "samples").iterdir()} == {
        "image-1",
        "image-2",
        "step-0000001.png",
        "step-0000002.png",
    }
    page = (tmp_path / "report.html").read_text()
    assert "Samples over time, seed 0" in page and "step 2" in page and f"by the recipe {recipe}" in page
    assert ("|teacher - fake network|" in page) is (recipe == "fgm")
    if recipe in ("distill", "fgm"):
        assert decoder.scale == load_decoder(flow_folder, "generative", model).scale


def test_the_teacher_sees_codes_and_plain_answer_once_for_all_its_steps(tmp_path, flow_folder, monkeypatch):
    """Counted, and equal in every bit to a teacher that looks at each step; the student looks once, too."""
    new_process()
    run = Run(decoder_config(tmp_path, flow_folder, "distill", "decoder.recipe.teacher_steps=8", teacher=flow_folder))
    recipe, teacher, seen = run.recipe, run.recipe.teacher, []
    condition = type(teacher).condition
    monkeypatch.setattr(type(teacher), "condition", lambda self, *given: seen.append(self) or condition(self, *given))
    base, codes = torch.randn(2, 3, 32, 32), torch.randn(2, 8, 4, 4)[:, : run.model.quantizer.dim]
    torch.manual_seed(7)
    made = recipe.paint(base, codes, base)
    assert [seen.count(each) for each in (teacher, recipe.decoder)] == [1, 1]
    torch.manual_seed(7)
    z = noise = torch.randn_like(base)
    with torch.no_grad():
        for left in range(8, 0, -1):
            z = z.lerp(teacher.predict(z, torch.full((2,), left / 8), codes, base), 1 / left)
        expected = (recipe.decoder.predict(noise, torch.ones(2), codes, base) - z).abs().mean()
    assert expected > 0 and torch.equal(made.losses["distillation"].detach(), expected)


def test_messages_call_the_fake_network_by_its_name(tmp_path, flow_folder):
    new_process()
    run = Run(decoder_config(tmp_path, flow_folder, "fgm", teacher=flow_folder))
    with torch.no_grad():
        next(run.opponent.network.parameters()).fill_(torch.nan)
    message = "the weights of the fake network are not finite after step 3: lower decoder.recipe.fake_lr."
    assert compiled_at(True, run.opponent, 5, 3) == "" and compiled_at(True, run.opponent, 4, 3) == "the networks were"
    run.opponent.start = 4
    assert compiled_at(True, run.opponent, 5, 3) == "the fake network was"
    with pytest.raises(DivergedError, match=f"^{re.escape(message)}$"):
        check_weights(3, trained_networks(run.model, run.recipe, run.opponent), tmp_path)


def test_at_first_a_student_is_what_it_starts_from_and_the_fake_is_the_teacher(tmp_path, flow_folder):
    new_process()
    run = Run(decoder_config(tmp_path, flow_folder, "fgm", teacher=flow_folder))
    start = load_decoder(flow_folder, "generative", load_tokenizer(flow_folder).model).state_dict()
    for network in (run.recipe.decoder, run.recipe.teacher, run.opponent.network):
        assert all(torch.equal(value.cpu(), start[name]) for name, value in network.state_dict().items())
    trained = {name for name, parameter in run.model.named_parameters() if parameter.requires_grad}
    assert trained and all(name.startswith("decoders.generative.") for name in trained)
    assert not any(parameter.requires_grad for parameter in run.opponent.network.parameters())
    muon = {id(p) for group in run.opponent.optimizer.param_groups if group["use_muon"] for p in group["params"]}
    names = {name for name, p in run.opponent.network.named_parameters() if id(p) in muon}
    assert names == set(run.opponent.network.hidden_matrices())


def test_the_two_networks_of_fgm_learn_in_turn(tmp_path, flow_folder, monkeypatch):
    """The decoder's step leaves fake and teacher alone, and the fake's step the decoder; each changes its own."""
    new_process()
    run = Run(decoder_config(tmp_path, flow_folder, "fgm", "optimizer.warmup=0", teacher=flow_folder))
    networks = {"decoder": run.recipe.decoder, "fake": run.opponent.network, "teacher": run.recipe.teacher}

    def state():
        return {
            name: torch.cat([p.detach().flatten() for p in network.parameters()]) for name, network in networks.items()
        }

    batches, learn, seen = run.batches(0), run.opponent.learn, [state()]
    monkeypatch.setattr(run.opponent, "learn", lambda *arguments: seen.append(state()) or learn(*arguments))
    for step in (1, 2):
        train_step(run, step, next(batches)[0], is_logged=False, is_checked=True)
        seen.append(state())
    changed = [{n for n in networks if not torch.equal(a[n], b[n])} for a, b in itertools.pairwise(seen)]
    # The loss has no gradient at first, where the fake network equals the teacher.
    assert changed == [set(), {"fake"}, {"decoder"}, {"fake"}]


@pytest.mark.parametrize("recipe", RECIPES)
def test_a_resumed_run_equals_one_that_never_stopped(tmp_path, tokenizer_folder, flow_folder, recipe):
    start = tokenizer_folder if recipe == "gan" else flow_folder
    resumed = ["run.export_precision=float32", *decoder_options(start, recipe, flow_folder)]
    if recipe == "gan":
        resumed += [*ADVERSARIAL, "losses={l1: 1.0, adversarial: 0.1}"]
    resumed_equals_whole(tmp_path, *resumed)
    name = "export/decoders/generative/model.safetensors"
    whole, late = (load_file(tmp_path / folder / name) for folder in ("whole", "late"))
    assert all(torch.equal(whole[name], late[name]) for name in whole)
    started = load_file(flow_folder / "decoders" / "generative" / "model.safetensors")
    assert recipe == "gan" or any(not torch.equal(whole[name], started[name]) for name in whole)


def test_so_does_fgm_with_micro_batches_in_bfloat16_and_a_fresh_scale(tmp_path, tokenizer_folder, flow_folder):
    more = ["run.gradient_accumulation=2", "run.precision=bfloat16", "run.log_every=3", "run.export_precision=float16"]
    resumed_equals_whole(tmp_path / "fgm", *decoder_options(tokenizer_folder, "fgm", flow_folder), *more)
    resumed_equals_whole(tmp_path / "flow", *decoder_options(tokenizer_folder, "flow"), *more)
    stored = [tmp_path / "flow" / name / "export/decoders/generative/config.json" for name in ("whole", "late")]
    first, second = (json.loads(path.read_text()) for path in stored)
    assert first == second and first["scale"] != 1


def test_the_scale_is_the_residual_of_the_first_crops(tmp_path, tokenizer_folder):
    folder = train_decoder(tmp_path, tokenizer_folder, "flow", "data.batch_size=64", steps=1)
    new_process()
    config = decoder_config(tmp_path / "again", tokenizer_folder, "flow", "data.batch_size=64")
    run = Run(config)
    pixels, _ = next(run.batches(0))
    model = load_tokenizer(tokenizer_folder).model
    with torch.no_grad():
        residual = (pixels - model(pixels).pixels).double()
    scale = json.loads((folder / "decoders/generative/config.json").read_text())["scale"]
    assert scale == pytest.approx(float(residual.square().mean().sqrt()), rel=1e-5)


def test_a_checkpoint_is_exported_with_its_own_decoder(tmp_path, tokenizer_folder):
    folder = train_decoder(tmp_path / "run", tokenizer_folder, "flow", steps=4)
    for step in (2, 4):
        exported = export_run(tmp_path / "run", tmp_path / f"out-{step}", step)
        assert exported.step == step and digests(exported.folder) == digests(tokenizer_folder)
    last, early, whole = (
        load_file(path / "decoders/generative/model.safetensors")
        for path in (tmp_path / "out-4", tmp_path / "out-2", folder)
    )
    assert all(torch.equal(last[name], whole[name]) for name in last)
    assert any(not torch.equal(early[name], whole[name]) for name in last)
    stored = [(path / "decoders/generative/config.json").read_text() for path in (tmp_path / "out-2", folder)]
    assert stored[0] == stored[1]


def test_validation_is_of_the_decoder_with_seed_0(tmp_path, flow_folder):
    """Computed again from the exported weights, which without an EMA are those that were validated."""
    values = [f"data.val={PHOTOS}", "run.validate_every=2", "run.ema_decay=0.0"]
    folder = train_decoder(tmp_path, flow_folder, "flow", *values, steps=2)
    model, found = load_tokenizer(folder)
    decoder = load_decoder(folder, "generative", model)
    run = Run(decoder_config(tmp_path / "again", flow_folder, "flow", *values))
    from vistok.images.preprocessing import to_pixels
    from vistok.train.data.read_images import ImageReader
    from vistok.train.data.source_images import SourceImages

    reader = ImageReader(found.preprocessing, model.downsample, 1)
    entries = SourceImages().of(run.config.data.val[0])
    psnrs = []
    with torch.no_grad():
        for entry in entries:
            pixels = to_pixels(reader.image(entry).unsqueeze(0))
            codes = model.quantizer(model.encode_latent(pixels)).latent
            noise = seeded_noise(0, decoder.noise_shape(*pixels.shape[2:]), pixels.device)[None]
            made = decoder(codes, model.decode_latent(codes), noise).clamp(-1, 1).double()
            psnrs.append(float(10 * torch.log10(4 / (pixels.double() - made).square().mean())))
    line = next(line for line in logged(tmp_path) if "validation/psnr" in line)
    assert line["validation/psnr"] == pytest.approx(sum(psnrs) / len(psnrs), abs=1e-3)


def test_all_losses_on_pixels_and_a_discriminator_join_a_recipe(tmp_path, flow_folder, perceptual):
    adversarial = ADVERSARIAL[1].replace("start: 1", "start: 0")
    values = [*perceptual, adversarial, "losses={distillation: 1.0, l1: 0.5, perceptual: 0.1, adversarial: 0.1}"]
    train_decoder(tmp_path, flow_folder, "distill", *values, "run.log_every=1", teacher=flow_folder, steps=2)
    last = logged(tmp_path)[-1]
    assert {"loss/distillation", "loss/l1", "loss/perceptual", "loss/adversarial", "discriminator/loss"} <= set(last)
    terms = {"distillation": 1.0, "l1": 0.5, "perceptual": 0.1}
    total = sum(weight * last[f"loss/{name}"] for name, weight in terms.items())
    total += 0.1 * last["adversarial/factor"] * last["loss/adversarial"]
    assert last["loss/total"] == pytest.approx(total, rel=1e-4)


def test_activations_are_recomputed_for_the_decoder(tmp_path, flow_folder):
    plain = train(decoder_config(tmp_path / "a", flow_folder, "flow", steps=2))
    new_process()
    less = train(decoder_config(tmp_path / "b", flow_folder, "flow", "run.activation_checkpointing=true", steps=2))
    first, second = (load_file(folder / "decoders/generative/model.safetensors") for folder in (plain, less))
    assert all(torch.allclose(first[name], second[name], atol=1e-6) for name in first)
