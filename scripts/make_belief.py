#!/usr/bin/env python3
"""Makes __test__/fixtures/belief: sounds that pass for speech, and single words. Run once, by hand:

    pip install av numpy
    python3 scripts/make_belief.py --from DIR

DIR holds the originals under the names below. Each is written as 16 kHz mono, as many seconds of it
as are asked for, with a manifest.json that names its source and licence.
"""

import argparse
import json
import pathlib
import wave

from opus_packets import decode

FOLDER = pathlib.Path(__file__).parent.parent / "__test__" / "fixtures" / "belief"

# original: short name, seconds that are kept, what is said, where it is from, licence
RECORDINGS = {
    "boat.ogg": ("boat", 4, "", "rafaelmardojai/blanket data/resources/sounds/boat.ogg", "CC0; author Falcet"),
    "doing_the_dishes.wav": ("dishes", 4, "", "LCAV/pyroomacoustics examples/input_samples/doing_the_dishes.wav", "CC BY 4.0 (Google Speech Commands, P. Warden)"),
    "sugar_plum.ogg": ("music_box", 4, "", "librosa/data audio/Kevin_MacLeod_-_P_I_Tchaikovsky_Dance_of_the_Sugar_Plum_Fairy.hq.ogg", "CC BY 3.0 (Kevin MacLeod)"),
    "1_lucas_27.wav": ("one", 1, "one", "Jakobovski/free-spoken-digit-dataset recordings/1_lucas_27.wav", "CC BY-SA 4.0 (Free Spoken Digit Dataset, Z. Jackson et al.)"),
    "8_lucas_6.wav": ("eight", 1, "eight", "Jakobovski/free-spoken-digit-dataset recordings/8_lucas_6.wav", "CC BY-SA 4.0 (Free Spoken Digit Dataset, Z. Jackson et al.)"),
    "7_lucas_19.wav": ("seven", 1, "seven", "Jakobovski/free-spoken-digit-dataset recordings/7_lucas_19.wav", "CC BY-SA 4.0 (Free Spoken Digit Dataset, Z. Jackson et al.)"),
    "a09f588c-d5db-4b84-b4c9-a619124408cc.wav": ("computer", 3, "computer", "Picovoice/wake-word-benchmark audio/computer/a09f588c-d5db-4b84-b4c9-a619124408cc.wav", "Apache-2.0 (Picovoice)"),
    "de50fc96-4eb0-4ef8-893a-240d47f84be6.wav": ("jarvis", 3, "jarvis", "Picovoice/wake-word-benchmark audio/jarvis/de50fc96-4eb0-4ef8-893a-240d47f84be6.wav", "Apache-2.0 (Picovoice)"),
}  # fmt: skip


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--from", dest="originals", required=True, type=pathlib.Path)
    originals = parser.parse_args().originals
    FOLDER.mkdir(exist_ok=True)
    manifest = []
    for file, (name, seconds, transcript, source, licence) in RECORDINGS.items():
        samples = decode(originals / file, 16000)[: seconds * 16000]
        with wave.open(str(FOLDER / f"{name}.wav"), "wb") as written:
            written.setnchannels(1)
            written.setsampwidth(2)
            written.setframerate(16000)
            written.writeframes(samples.tobytes())
        manifest.append(
            {"name": name, "transcript": transcript, "source": source, "licence": licence}
        )
    text = json.dumps(manifest, indent=1, ensure_ascii=False)
    (FOLDER / "manifest.json").write_text(text + "\n")


if __name__ == "__main__":
    main()
