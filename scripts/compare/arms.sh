#!/usr/bin/env bash
# The comparisons of small runs in RESULTS.md, by name, on the photos in DATA; runs that are in results/ are not made again.
#
#     DATA=../shared/data bash scripts/compare/arms.sh adam_epsilon lazy_rows second_moment rotation_cure new_quantizers directions
set -eu
cd "$(dirname "$0")/../.."
data=${DATA:-../shared/data}
val=$data/photos-val-0000.tar
losses='losses={l2: 1.0, codebook: 1.0, commitment: 0.25}'
without_codebook='losses={l2: 1.0, commitment: 0.25}'

compare() { # NAME SHARDS OPTION...: two seeds of 400 steps
  local name=$1 shards=$2
  shift 2
  python scripts/compare_runs.py scripts/compare/small.yaml --train "$data/$shards" --val "$val" --seeds 0 1 \
    --out "results/$name.json" "$@"
}

adam_epsilon() {
  local below=optimizer/below_epsilon
  compare adam_epsilon photos-train-0000.tar \
    --show $below/encoder $below/codebook $below/decoder codebook/usage \
    --set 'model.quantizer={name: vq, dim: 4, codebook_size: 4096}' "$losses" optimizer.name=adamw \
    --arm "eps 1e-8" optimizer.eps=1e-8 --arm "eps 1e-6" optimizer.eps=1e-6 --arm "eps 1e-5" optimizer.eps=1e-5 \
    --arm "eps 1e-4" optimizer.eps=1e-4 --arm "eps 1e-3" optimizer.eps=1e-3
}

lazy_rows() {
  local vq='model.quantizer={name: vq, dim: 4, codebook_size: 4096}' kmeans='codebook={initialization: kmeans, vectors_per_code: 8}'
  compare lazy_rows photos-train-0000.tar --show codebook/usage codebook/perplexity codebook/distortion --set "$losses" \
    --arm "VQ, dense" "$vq" --arm "VQ, lazy" "$vq" optimizer.codebook_rows=lazy \
    --arm "VQ, k-means, dense" "$vq" "$kmeans" --arm "VQ, k-means, lazy" "$vq" "$kmeans" optimizer.codebook_rows=lazy \
    --arm "EMA, k-means" 'model.quantizer={name: ema, dim: 4, codebook_size: 4096}' "$without_codebook" "$kmeans"
}

second_moment() {
  local std=optimizer/gradient_std root=optimizer/curvature
  compare second_moment photos-train-0000.tar --show loss/total $root/encoder $std/encoder $root/decoder $std/decoder \
    --arm AdamW optimizer.name=adamw --arm AdaBelief optimizer.name=adamw optimizer.second_moment=centred \
    --arm "AdaBelief, eps 1e-5" optimizer.name=adamw optimizer.second_moment=centred optimizer.eps=1e-5 \
    --arm "Muon + AdamW" --arm "Muon + AdaBelief" optimizer.second_moment=centred
}

rotation_cure() {
  local vq='model.quantizer={name: vq, dim: 4, codebook_size: 1024' arms=() scale
  for scale in 1e-3 1.0; do
    arms+=(
      --arm "straight-through, scale $scale" "$vq, gradient: straight_through, initial_scale: $scale}" "$losses"
      --arm "rotation, scale $scale" "$vq, gradient: rotation, initial_scale: $scale}" "$losses"
      --arm "rotation + cure, scale $scale" "$vq, gradient: rotation, commitment_by_length: true, initial_scale: $scale}" "$losses"
    )
  done
  compare rotation_cure photos-train-0000.tar \
    --show codebook/usage codebook/perplexity codebook/distortion codebook/length_ratio "${arms[@]}"
}

new_quantizers() {
  local vq='name: vq, dim: 4, codebook_size: 256, initial_scale: 0.1' ema='name: ema, dim: 4, codebook_size: 256, initial_scale: 0.1'
  compare new_quantizers photos-train-0000.tar --show codebook/usage codebook/perplexity codebook/distortion \
    --arm vq "model.quantizer={$vq}" "$losses" --arm "vq, hardness annealed" "model.quantizer={$vq}" "$losses" codebook.harden_steps=200 \
    --arm "vq, Sinkhorn" "model.quantizer={$vq, sinkhorn: {}}" "$losses" \
    --arm ema "model.quantizer={$ema}" "$without_codebook" \
    --arm "ema, hardness annealed" "model.quantizer={$ema}" "$without_codebook" codebook.harden_steps=200 \
    --arm FSQ --arm "FSQ, hardness annealed" codebook.harden_steps=200 \
    --arm iFSQ 'model.quantizer={name: fsq, levels: [8, 8, 8, 8], bound: ifsq}' \
    --arm Leech 'model.quantizer={name: leech}' model.architecture.quantizer_convolutions=true
}

directions() {
  local eight=model.architecture.latent_channels=8 simvq='model.quantizer={name: simvq, dim: 8, codebook_size: 256, gradient: rotation}'
  compare directions photos-train-0000.tar --show codebook/usage codebook/effective_rank codebook/latent_effective_rank \
    --arm SimVQ $eight "$simvq" "$losses" --arm "SimVQ, lr 5e-4" $eight "$simvq" "$losses" optimizer.lr=5e-4 \
    --arm VQ $eight 'model.quantizer={name: vq, dim: 8, codebook_size: 256, gradient: rotation, initial_scale: 0.2}' "$losses" \
    --arm "FSQ, 2 levels" $eight 'model.quantizer={name: fsq, levels: [2, 2, 2, 2, 2, 2, 2, 2]}' \
    --arm "FSQ, 128 levels: hardly a quantizer" $eight 'model.quantizer={name: fsq, levels: [128, 128, 128, 128, 128, 128, 128, 128]}'
}

projection() { # who moves the matrices between a basis and its codes
  local rest='{pattern: "(encoder|decoder)\\.(levels|middle)\\..*\\.(conv\\d?|shortcut|query|key|value|out)\\.weight", use: muon},
    {pattern: "(encoder|decoder)\\.conv_(in|out)\\.weight|quantizer_(in|out)\\.weight", use: adamw},
    {pattern: "(encoder|decoder)\\..*norm\\w*\\.weight|(encoder|decoder|quantizer_in|quantizer_out)\\.(.*\\.)?bias", use: adamw, decay: false}'
  local matrices='quantizer\\.codebook\\.projection\\.linear\\.weight'
  rules() { echo "optimizer.rules=[$rest, {pattern: \"$matrices\", use: $1, decay: false}, {pattern: \"quantizer\\\\.codebook\\\\.projection\\\\.linear\\\\.bias\", use: adamw, decay: false}]"; }
  compare projection photos-train-0000.tar --seeds 0 1 2 --show codebook/usage codebook/perplexity codebook/distortion \
    --set 'model.quantizer={name: simvq, dim: 4, codebook_size: 1024}' "$losses" \
    --arm "SimVQ, AdamW" "$(rules adamw)" --arm "SimVQ, Muon" "$(rules muon)"
}

rate_laws() {
  local law='rule: best_step, base_batch_size: 16, noise_scale: 235'
  compare rate_laws 'photos-train-{0000..0004}.tar' --show loss/total optimizer/lr --set data.batch_size=64 \
    --arm unscaled --arm sqrt 'optimizer.scale_lr={rule: sqrt, base_batch_size: 16}' \
    --arm "best step" "optimizer.scale_lr={$law}" --arm "best step, curvature" "optimizer.scale_lr={$law, curvature_ratio: 0.075}"
}

for comparison in "$@"; do $comparison; done
