#!/usr/bin/env python3
"""Writes the recorded frames of netlog-packet as the corpus of the target `packet`."""

import json
import pathlib

here = pathlib.Path(__file__).parent
fixtures = here.parent / 'netlog-packet' / 'tests' / 'fixtures'
corpus = here / 'corpus' / 'packet'
corpus.mkdir(parents=True, exist_ok=True)
count = 0
for name in ('neutron_records.json', 'osken_records.json'):
    for entry in json.loads((fixtures / name).read_text()):
        (corpus / entry['name']).write_bytes(bytes.fromhex(entry['packet_hex']))
        count += 1
print(f'{count} frames in {corpus}')
