"""ctypes access to libopendht-c.so.2 (Debian package libopendht-c2): the only
packaged way to import and export private keys, and to make signed, encrypted
and permanent puts from a script. From the programs that recorded the vectors in test/vectors/opendht/."""
import ctypes as C, threading, time
import os
L = C.CDLL(os.environ.get('OPENDHT_C_LIB', 'libopendht-c.so.2'))
class View(C.Structure): _fields_ = [('data', C.POINTER(C.c_uint8)), ('size', C.c_size_t)]
class IH(C.Structure): _fields_ = [('d', C.c_uint8 * 20)]
class PkId(C.Structure): _fields_ = [('d', C.c_uint8 * 32)]
class Ident(C.Structure): _fields_ = [('k', C.c_void_p), ('c', C.c_void_p)]
class NodeCfg(C.Structure): _fields_ = [('node_id', IH), ('network', C.c_uint32), ('is_bootstrap', C.c_bool), ('maintain_storage', C.c_bool), ('persist_path', C.c_char_p)]
class SecCfg(C.Structure): _fields_ = [('node_config', NodeCfg), ('id', Ident)]
class RunCfg(C.Structure): _fields_ = [('dht_config', SecCfg), ('threaded', C.c_bool), ('proxy_server', C.c_char_p), ('push_node_id', C.c_char_p), ('push_token', C.c_char_p), ('push_topic', C.c_char_p), ('push_platform', C.c_char_p), ('peer_discovery', C.c_bool), ('peer_publish', C.c_bool), ('server_ca', C.c_void_p), ('client_identity', Ident), ('log', C.c_bool)]
GETCB = C.CFUNCTYPE(C.c_bool, C.c_void_p, C.c_void_p); VALCB = C.CFUNCTYPE(C.c_bool, C.c_void_p, C.c_bool, C.c_void_p); DONECB = C.CFUNCTYPE(None, C.c_bool, C.c_void_p); SHUTCB = C.CFUNCTYPE(None, C.c_void_p)
def sig(n, res, *a):
    f = getattr(L, n); f.restype = res; f.argtypes = a; return f
sig('dht_blob_get_data', View, C.c_void_p); sig('dht_blob_delete', None, C.c_void_p)
sig('dht_publickey_import', C.c_void_p, C.c_char_p, C.c_size_t); sig('dht_publickey_export', C.c_int, C.c_void_p, C.c_char_p, C.POINTER(C.c_size_t))
sig('dht_publickey_get_id', IH, C.c_void_p); sig('dht_publickey_get_long_id', PkId, C.c_void_p)
sig('dht_publickey_check_signature', C.c_bool, C.c_void_p, C.c_char_p, C.c_size_t, C.c_char_p, C.c_size_t)
sig('dht_publickey_encrypt', C.c_void_p, C.c_void_p, C.c_char_p, C.c_size_t)
sig('dht_privatekey_generate', C.c_void_p, C.c_uint); sig('dht_privatekey_import', C.c_void_p, C.c_char_p, C.c_size_t, C.c_char_p)
sig('dht_privatekey_export', C.c_int, C.c_void_p, C.c_char_p, C.POINTER(C.c_size_t), C.c_char_p)
sig('dht_privatekey_get_publickey', C.c_void_p, C.c_void_p); sig('dht_privatekey_decrypt', C.c_void_p, C.c_void_p, C.c_char_p, C.c_size_t)
sig('dht_certificate_import', C.c_void_p, C.c_char_p, C.c_size_t); sig('dht_certificate_get_id', IH, C.c_void_p); sig('dht_certificate_get_long_id', PkId, C.c_void_p); sig('dht_certificate_get_publickey', C.c_void_p, C.c_void_p)
sig('dht_identity_generate', Ident, C.c_char_p, C.POINTER(Ident))
sig('dht_infohash_get', None, C.POINTER(IH), C.c_char_p, C.c_size_t)
sig('dht_value_new', C.c_void_p, C.c_char_p, C.c_size_t); sig('dht_value_set_user_type', None, C.c_void_p, C.c_char_p); sig('dht_value_get_id', C.c_uint64, C.c_void_p)
sig('dht_value_get_data', View, C.c_void_p); sig('dht_value_get_owner', C.c_void_p, C.c_void_p); sig('dht_value_get_recipient', IH, C.c_void_p); sig('dht_value_get_user_type', C.c_char_p, C.c_void_p)
sig('dht_runner_new', C.c_void_p); sig('dht_runner_delete', None, C.c_void_p); sig('dht_runner_run_config', C.c_int, C.c_void_p, C.c_uint16, C.POINTER(RunCfg)); sig('dht_runner_config_default', None, C.POINTER(RunCfg))
sig('dht_runner_bootstrap', None, C.c_void_p, C.c_char_p, C.c_char_p)
for n in ('put', 'put_signed'): sig('dht_runner_' + n, None, C.c_void_p, C.POINTER(IH), C.c_void_p, DONECB, C.c_void_p, C.c_bool)
sig('dht_runner_put_encrypted', None, C.c_void_p, C.POINTER(IH), C.POINTER(IH), C.c_void_p, DONECB, C.c_void_p, C.c_bool)
sig('dht_runner_get', None, C.c_void_p, C.POINTER(IH), GETCB, DONECB, C.c_void_p)
sig('dht_runner_listen', C.c_void_p, C.c_void_p, C.POINTER(IH), VALCB, SHUTCB, C.c_void_p); sig('dht_runner_cancel_listen', None, C.c_void_p, C.POINTER(IH), C.c_void_p)
sig('dht_runner_get_node_id', IH, C.c_void_p); sig('dht_runner_get_id', IH, C.c_void_p)
sig('dht_runner_cancel_put', None, C.c_void_p, C.POINTER(IH), C.c_uint64)

def ih(b): return IH((C.c_uint8 * 20)(*b))
def blob(p):
    if not p: return None
    v = L.dht_blob_get_data(p); r = C.string_at(v.data, v.size) if v.size else b''; L.dht_blob_delete(p); return r
def view(v): return C.string_at(v.data, v.size) if v.size else b''

class Pub:
    def __init__(s, h): s.h = h
    @staticmethod
    def load(b): h = L.dht_publickey_import(b, len(b)); return Pub(h) if h else None
    def der(s):
        n = C.c_size_t(8192); o = C.create_string_buffer(8192); r = L.dht_publickey_export(s.h, o, C.byref(n)); assert r == 0, r; return o.raw[:n.value]
    def id(s): return bytes(L.dht_publickey_get_id(s.h).d)
    def long_id(s): return bytes(L.dht_publickey_get_long_id(s.h).d)
    def check(s, d, g): return bool(L.dht_publickey_check_signature(s.h, d, len(d), g, len(g)))
    def encrypt(s, d): return blob(L.dht_publickey_encrypt(s.h, d, len(d)))
class Priv:
    def __init__(s, h): s.h = h
    @staticmethod
    def generate(bits): return Priv(L.dht_privatekey_generate(bits))
    @staticmethod
    def load(b, pw=b''): h = L.dht_privatekey_import(b, len(b), pw); return Priv(h) if h else None
    def pem(s, pw=b''):
        n = C.c_size_t(16384); o = C.create_string_buffer(16384); r = L.dht_privatekey_export(s.h, o, C.byref(n), pw); assert r == 0, r; return o.raw[:n.value]
    def pub(s): return Pub(L.dht_privatekey_get_publickey(s.h))
    def decrypt(s, d): return blob(L.dht_privatekey_decrypt(s.h, d, len(d)))
class Cert:
    def __init__(s, h): s.h = h
    @staticmethod
    def load(b): h = L.dht_certificate_import(b, len(b)); return Cert(h) if h else None
    def id(s): return bytes(L.dht_certificate_get_id(s.h).d)
    def long_id(s): return bytes(L.dht_certificate_get_long_id(s.h).d)

class Runner:
    """a node with an identity; binds 0.0.0.0 (no address option in this API)"""
    def __init__(s, port, priv=None, cert=None, network=0, persist=None, node_id=None):
        s.h = L.dht_runner_new(); c = RunCfg(); L.dht_runner_config_default(C.byref(c)); c.threaded = True
        if priv: c.dht_config.id = Ident(priv.h, cert.h)
        c.dht_config.node_config.network = network
        if node_id: c.dht_config.node_config.node_id = ih(node_id)
        if persist: c.dht_config.node_config.persist_path = persist
        s.cfg = c; s.keep = []; r = L.dht_runner_run_config(s.h, port, C.byref(c)); assert r == 0, r
    def bootstrap(s, host, port): L.dht_runner_bootstrap(s.h, host.encode(), str(port).encode())
    def _wait(s, fn, timeout=20):
        ev = threading.Event(); res = []
        def d(ok, _): res.append(ok); ev.set()
        cb = DONECB(d); s.keep.append(cb); fn(cb); ev.wait(timeout); return res[0] if res else None
    def value(s, data, utype=None):
        v = L.dht_value_new(data, len(data))
        if utype: L.dht_value_set_user_type(v, utype.encode())
        return v
    def put(s, key, v, permanent=False): return s._wait(lambda cb: L.dht_runner_put(s.h, C.byref(ih(key)), v, cb, None, permanent))
    def put_signed(s, key, v, permanent=False): return s._wait(lambda cb: L.dht_runner_put_signed(s.h, C.byref(ih(key)), v, cb, None, permanent))
    def put_encrypted(s, key, to, v, permanent=False): return s._wait(lambda cb: L.dht_runner_put_encrypted(s.h, C.byref(ih(key)), C.byref(ih(to)), v, cb, None, permanent))
    def get(s, key, timeout=15):
        out = []
        def g(v, _):
            o = L.dht_value_get_owner(v)
            out.append({'id': L.dht_value_get_id(v), 'data': view(L.dht_value_get_data(v)), 'owner': Pub(o).id().hex() if o else None,
                        'to': bytes(L.dht_value_get_recipient(v).d).hex(), 'utype': (L.dht_value_get_user_type(v) or b'').decode()}); return True
        cb = GETCB(g); s.keep.append(cb)
        ok = s._wait(lambda d: L.dht_runner_get(s.h, C.byref(ih(key)), cb, d, None), timeout); return ok, out
    def listen(s, key, f):
        def g(v, e, _): f(L.dht_value_get_id(v), view(L.dht_value_get_data(v)), bool(e)); return True
        cb = VALCB(g); sc = SHUTCB(lambda _: None); s.keep += [cb, sc]
        return L.dht_runner_listen(s.h, C.byref(ih(key)), cb, sc, None)
    def cancel_listen(s, key, tok): L.dht_runner_cancel_listen(s.h, C.byref(ih(key)), tok)
    def cancel_put(s, key, vid): L.dht_runner_cancel_put(s.h, C.byref(ih(key)), vid)
    def id(s): return bytes(L.dht_runner_get_id(s.h).d)
    def node_id(s): return bytes(L.dht_runner_get_node_id(s.h).d)
    def close(s): L.dht_runner_delete(s.h); s.h = None
