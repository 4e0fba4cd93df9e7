"""Tiny-ImageNet's shards to two folders of images with captions, and a text tokenizer for the captions.

python examples/paint/prepare.py 'tiny-train-*.tar' --classes classes.txt --out images

Images of your own need no program: a folder of NAME.jpg with NAME.txt beside, and the tokenizer.json of any language model.
"""

import argparse
import glob
import tarfile
import zlib
from pathlib import Path

from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

HELD_OUT = 20
"""One image in so many is held out, by the hash of its name."""
EASY = """
acorn, African elephant, albatross, alp, Arabian camel, banana, barn, beacon, bee, bell pepper, bison, black stork, brain coral,
brown bear, bullet train, candle, cauliflower, cliff, convertible, coral reef, dam, dragonfly, dugong, espresso, flagpole,
fountain, gazelle, golden retriever, goldfish, goose, guacamole, ice cream, jellyfish, king penguin, koala, ladybug, lakeside,
lemon, lesser panda, lifeboat, lion, monarch, mushroom, obelisk, orange, ox, Persian cat, pizza, pole, pomegranate, potpie,
school bus, sea slug, seashore, snail, sports car, steel arch bridge, sulphur butterfly, suspension bridge, tabby, teapot,
thatch, tractor, viaduct, water tower
"""
"""Classes of scenes, of single things, and of few colours, which a small model can paint."""


def unpack(shards: list[str], captions: dict[str, str], out: Path) -> dict[str, int]:
    """Write the images of the classes that have a caption, each with it, and return how many there are in each folder."""
    counts = {"train": 0, "held-out": 0}
    for shard in shards:
        with tarfile.open(shard) as tar:
            for member in tar:
                caption = captions.get(member.name.partition("_")[0])
                if caption is None:
                    continue
                part = "train" if zlib.crc32(member.name.encode()) % HELD_OUT else "held-out"
                path = out / part / Path(member.name).name
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(tar.extractfile(member).read())
                path.with_suffix(".txt").write_text(caption)
                counts[part] += 1
    return counts


def text_tokenizer(captions: list[str]) -> Tokenizer:
    """Return a byte-level BPE of at most 1,000 ids, with <s>: it writes any text, and words of the captions in one id each."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=True)
    tokenizer.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=1000, initial_alphabet=alphabet, special_tokens=["<s>"], show_progress=False
    )
    tokenizer.train_from_iterator(captions, trainer)
    return tokenizer


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("shards", help="glob of .tar files, with images named WORDNET-ID_NUMBER.jpg")
    parser.add_argument("--classes", type=Path, required=True, help="file of lines: WordNet id, tab, names")
    parser.add_argument("--only", default=EASY, help="names of classes, separated by commas, or all; some by default")
    parser.add_argument("--out", type=Path, required=True)
    arguments = parser.parse_args()

    lines = (line.split("\t") for line in arguments.classes.read_text().splitlines())
    captions = {key: names.split(",")[0] for key, names in lines}
    if arguments.only != "all":
        wanted = {name.strip() for name in arguments.only.split(",")}
        captions = {key: name for key, name in captions.items() if name in wanted}
        if unknown := wanted - set(captions.values()):
            parser.error(f"--only names {min(unknown)!r}, which {arguments.classes} does not have")
    counts = unpack(sorted(glob.glob(arguments.shards)), captions, arguments.out)
    text_tokenizer(sorted(captions.values())).save(str(arguments.out / "tokenizer.json"))
    print(f"{arguments.out}: {counts['train']:,} images to train on, {counts['held-out']:,} held out")


if __name__ == "__main__":
    main()
