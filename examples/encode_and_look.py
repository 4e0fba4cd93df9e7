"""Encode photos, decode them, and look at both.

python examples/encode_and_look.py tests/photos/coffee.jpg tests/photos/rocket.jpg --out looked.png
"""

import argparse

from PIL import Image

import vistok


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("photos", nargs="+")
    parser.add_argument("--model", default="photo-f8")
    parser.add_argument("--out", default="looked.png")
    arguments = parser.parse_args()

    tok = vistok.load(arguments.model)
    tokens = tok.encode(arguments.photos)  # b q y x
    reconstructions = tok.decode(tokens)

    side = reconstructions[0].width
    sheet = Image.new("RGB", (side * len(reconstructions), 2 * side))
    for column, (path, reconstruction) in enumerate(zip(arguments.photos, reconstructions, strict=True)):
        with Image.open(path) as photo:
            short = min(photo.size)
            left, top = (photo.width - short) // 2, (photo.height - short) // 2
            square = photo.convert("RGB").crop((left, top, left + short, top + short)).resize((side, side))
        sheet.paste(square, (column * side, 0))
        sheet.paste(reconstruction, (column * side, side))
        distinct = tokens[column].unique().numel()
        print(f"{path}: {tokens[column].numel()} tokens, {distinct} different ones of {tok.vocab_size}")
    sheet.save(arguments.out)
    print(f"{arguments.out}: photos above, reconstructions below")


if __name__ == "__main__":
    main()
