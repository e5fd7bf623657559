"""Cuts the known speech that GPUs are tried out with: the last words of the public-domain recording
jfk, as Opus packets behind their lengths.

    python3 scripts/make_self_check.py
"""

from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
#: "ask what you can do for your country": from 8 s on, in packets of 20 ms.
FIRST_PACKET = 400


def main():
    source = (ROOT / "__test__" / "fixtures" / "jfk.packets").read_bytes()
    packets = []
    while source:
        end = 2 + int.from_bytes(source[:2], "little")
        packets.append(source[:end])
        source = source[end:]
    (ROOT / "assets" / "self_check.packets").write_bytes(b"".join(packets[FIRST_PACKET:]))


main()
