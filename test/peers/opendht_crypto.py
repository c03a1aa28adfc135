#!/usr/bin/python3
"""The crypto of the reference (python3-opendht) for the interop suite.

verify CHAIN.pem    read a device chain as Jami does: one JSON object with ids and the verdict, the chain's top as only anchor
decrypt             make an identity, print its certificate as one JSON object, then for each line of hex on stdin what it
                    decrypts to, as hex (2.4.12 aborts on what it cannot decrypt)
"""
import json
import re
import sys

import opendht


def verify(path):
    pem = open(path, 'rb').read()
    certificates = re.findall(rb'-----BEGIN CERTIFICATE-----.*?-----END CERTIFICATE-----\n', pem, re.S)
    device = opendht.Certificate(pem)
    anchor = opendht.TrustList()
    anchor.add(opendht.Certificate(certificates[-1]))
    print(json.dumps({
        'id': str(device.getId()),
        'name': device.getName().decode(),
        'issuer': str(device.issuer.getId()),
        'trusted': bool(anchor.verify(device)),
    }))


def decrypt():
    identity = opendht.Identity.generate('reference')
    print(json.dumps({'certificate': identity.certificate.toString()}), flush=True)
    for line in sys.stdin:
        print(identity.key.decrypt(bytes.fromhex(line.strip())).hex(), flush=True)


verify(sys.argv[2]) if sys.argv[1] == 'verify' else decrypt()
