"""Verify DKIM signatures with dkimpy: verify.py KEYS FILE... prints FILE, number of the signature, True or False."""
import sys

import dkim

with open(sys.argv[1]) as lines:
    keys = dict(line.rstrip("\n").split(" ", 1) for line in lines)


def lookup(name, timeout=5):
    return keys[name.decode().rstrip(".")].encode()


for name in sys.argv[2:]:
    with open(name, "rb") as file:
        message = file.read()
    verifier = dkim.DKIM(message)
    count = sum(1 for field, _ in verifier.headers if field.lower() == b"dkim-signature")
    for i in range(count):
        try:
            good = dkim.DKIM(message).verify(idx=i, dnsfunc=lookup)
        except (dkim.DKIMException, KeyError) as error:
            good = repr(error)
        print(name, i, good)
