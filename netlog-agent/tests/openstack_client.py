"""Runs commands of the OpenStack client, each in a process of its own.

Reads a command line from each line of standard input, and answers with a line of JSON: exit code,
standard output and standard error. The client's modules are loaded once; each command then runs
in a fork, as the program `openstack` would run it.
"""

import json
import os
import shlex
import sys
import tempfile

from openstackclient import shell

# What nearly every command loads, so that it is loaded once.
import keystoneauth1.loading  # noqa: F401
import neutronclient.osc.v2.logging.network_log  # noqa: F401
import neutronclient.v2_0.client  # noqa: F401
import openstack.connection  # noqa: F401


def run(arguments):
    """Runs one command, and returns its exit code and what it printed."""
    outputs = [tempfile.TemporaryFile(), tempfile.TemporaryFile()]
    child = os.fork()
    if child == 0:
        for descriptor, output in enumerate(outputs, start=1):
            os.dup2(output.fileno(), descriptor)
        try:
            sys.argv = ["openstack", *arguments]
            sys.exit(shell.main())
        except SystemExit as end:
            # As the interpreter ends: no code is 0, a number is the code.
            code = end.code if isinstance(end.code, int) else int(end.code is not None)
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(code & 0xFF)
    _, status = os.waitpid(child, 0)
    printed = []
    for output in outputs:
        output.seek(0)
        printed.append(output.read().decode())
    return os.waitstatus_to_exitcode(status), *printed


for line in sys.stdin:
    exit_code, stdout, stderr = run(shlex.split(line)[1:])
    answer = {"exit": exit_code, "stdout": stdout, "stderr": stderr}
    print(json.dumps(answer), flush=True)
