#!/usr/bin/env python3
"""Writes what is recorded in the fixtures as the corpora of the fuzz targets."""

import json
import pathlib

here = pathlib.Path(__file__).parent
fixtures = here.parent / 'netlog-packet' / 'tests' / 'fixtures'
frames = {
    entry['name']: bytes.fromhex(entry['packet_hex'])
    for name in ('neutron_records.json', 'osken_records.json')
    for entry in json.loads((fixtures / name).read_text())
}
for target in ('packet', 'text', 'neutron', 'json', 'ecs', 'ocsf'):
    corpus = here / 'corpus' / target
    corpus.mkdir(parents=True, exist_ok=True)
    for name, frame in frames.items():
        (corpus / name).write_bytes(frame)
    print(f'{len(frames)} frames in {corpus}')

fixtures = here.parent / 'netlog-ofp' / 'src' / 'testdata'
messages = {
    word
    for file in fixtures.glob('*.hex')
    for line in file.read_text().splitlines()
    for word in [bytes.fromhex(line.split()[-1])]
}
# What ovs-ofctl was shown: every message and extension, in both versions.
tests = here.parent / 'netlog-ofp' / 'tests' / 'messages'
written = (tests / 'ofp_print.txt').read_text().splitlines()
messages |= {bytes.fromhex(line[2:]) for line in written if line.startswith('# ')}
# What Open vSwitch tries in its own tests.
tried = (tests / 'ovs_tests.txt').read_text().splitlines()
messages |= {bytes.fromhex(line) for line in tried if not line.startswith('# ')}
sessions = [file.read_bytes() for file in fixtures.glob('*.bin')]
for session in sessions:
    while session:
        length = int.from_bytes(session[2:4], 'big')
        messages.add(session[:length])
        session = session[length:]
corpora = {'openflow': messages, 'connection': messages | set(sessions)}
for target, inputs in corpora.items():
    corpus = here / 'corpus' / target
    corpus.mkdir(parents=True, exist_ok=True)
    for number, data in enumerate(sorted(inputs)):
        (corpus / f'recorded-{number}').write_bytes(data)
    print(f'{len(inputs)} inputs in {corpus}')
