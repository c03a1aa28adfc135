#!/usr/bin/python3
"""A node of libopendht with an identity, for the interop tests: crypto_node.py PORT KEY.pem CHAIN.pem

Reads one JSON object per line, answers each with one; pushes of a listen come as {"ev": "value"}.
  {"op": "boot", "host", "port"}
  {"op": "put_signed", "key", "name", "data"}   the same name again is an edit: the library counts seq up
  {"op": "put_encrypted", "key", "to", "data"}               to: short key id, whose certificate it looks up
  {"op": "get", "key"}                                       what passed its checks
  {"op": "listen", "key"}
Keys and ids are hex, data is text, value ids are decimal text. Needs Debian's libopendht-c2.
"""
import json
import sys
import threading

import capi

port, key_file, chain_file = sys.argv[1:]
private = capi.Priv.load(open(key_file, 'rb').read())
certificate = capi.Cert.load(open(chain_file, 'rb').read())
node = capi.Runner(int(port), private, certificate)
values = {}
lock = threading.Lock()


def say(message):
    with lock:
        print(json.dumps(message), flush=True)


def text(data):
    return data.decode('utf-8', 'replace')


def heard(value_id, data, expired):
    say({'ev': 'value', 'id': str(value_id), 'data': text(data), 'expired': expired})


def put_signed(key, name, data):
    value = values.setdefault(name, node.value(data.encode(), 'text/plain'))
    return {'ok': node.put_signed(bytes.fromhex(key), value), 'id': str(capi.L.dht_value_get_id(value))}


def put_encrypted(key, to, data):
    value = node.value(data.encode(), 'text/plain')
    return {'ok': node.put_encrypted(bytes.fromhex(key), bytes.fromhex(to), value)}


def get(key):
    ok, got = node.get(bytes.fromhex(key))
    return {'ok': ok, 'values': [{**value, 'id': str(value['id']), 'data': text(value['data'])} for value in got]}


def listen(key):
    node.listen(bytes.fromhex(key), heard)
    return {'ok': True}


def boot(host, port):
    node.bootstrap(host, port)
    return {'ok': True}


OPERATIONS = {f.__name__: f for f in (put_signed, put_encrypted, get, listen, boot)}
say({'id': node.id().hex()})
for line in sys.stdin:
    request = json.loads(line)
    say(OPERATIONS[request.pop('op')](**request))
node.close()
