#!/usr/bin/python3
"""Black-box conformance run against one OpenDHT node (UDP, IPv4).

    conformance.py --target 127.0.0.1:4222 [--json out.json] [--only a,b] [--skip a,b] [--group raw|peers]
                   [--reference 2.4.12] [--list]

The target must be running, on network 0, with no other peers, on an address that is reachable from 127.0.0.x (same
machine or same network namespace). Raw cases speak the protocol by hand; peer cases run real OpenDHT nodes which know
nobody but the target. Needs python3-opendht and dhtnode for the peer cases, nothing but the standard library otherwise.
Proven against dhtnode 2.4.12 and 4.3.1, and against stubs that fail on purpose. See README.md.
"""
import argparse, hashlib, itertools, json, os, queue, random, re, shutil, socket, struct, subprocess, sys, tempfile, threading, time, traceback
from concurrent.futures import ThreadPoolExecutor

HERE = os.path.dirname(os.path.abspath(__file__))
VEC = os.path.join(HERE, '..', '..', 'vectors', 'opendht')
sys.dont_write_bytecode = True
sys.path.insert(0, HERE)
from wire import Bin, Pairs, Raw, StrBytes, mp_encode, unpack  # noqa: E402

sha1 = lambda b: hashlib.sha1(b).digest()
SILENCE = 0.6          # how long "no answer" is waited for
ANSWER = 2.0           # how long an answer may take
SLOTS = 8              # raw cases at a time


class Fail(Exception):
    pass


def check(ok, text):
    if not ok: raise Fail(text)


def same(got, want, what):
    if got != want: raise Fail('%s: got %s, expected %s' % (what, short(got), short(want)))


def short(x):
    x = bytes(x).hex() if isinstance(x, (bytes, bytearray)) else repr(x)
    return x if len(x) < 160 else x[:150] + '...(%d)' % len(x)


# ------------------------------------------------------------------ hand-made node

class Msg:
    def __init__(self, n, t, raw, m, src): self.n, self.t, self.raw, self.m, self.src = n, t, raw, m, src
    def body(self): return self.m.get('r')
    def __getitem__(self, k):
        b = self.m.get('r') if self.m.has('r') else self.m.get('a')
        return b.get(k) if isinstance(b, Pairs) else None


class Peer:
    """A UDP socket with a node id. client=True flags its messages `s: true`, so the target does not put it in its table."""
    def __init__(self, ctx, ip='127.0.0.1', client=True, net=0, answer=True, node_id=None):
        self.ctx, self.client, self.net, self.answer = ctx, client, net, answer
        self.s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.s.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4 << 20)
        self.s.bind((ip, 0)); self.s.settimeout(0.1)
        self.addr = self.s.getsockname(); self.id = Bin(node_id or os.urandom(20)); self.tid = random.randrange(1, 1 << 30)
        self.cv = threading.Condition(); self.log = []; self.bad = []; self.dead = False; self.count = itertools.count()
        self.th = threading.Thread(target=self._rx, daemon=True); self.th.start()
    def close(self):
        self.dead = True; self.th.join(); self.s.close()
    def newtid(self):
        self.tid += 1; return self.tid
    def _rx(self):
        while not self.dead:
            try: raw, src = self.s.recvfrom(1 << 16)
            except socket.timeout: continue
            except OSError: continue
            t = time.time()
            try:
                m = unpack(raw)
                if not isinstance(m, Pairs): raise ValueError('not a map')
            except Exception:
                with self.cv: self.bad.append(raw); self.cv.notify_all()
                continue
            args = next((m.get(k) for k in ('a', 'r', 'u') if m.has(k)), None)
            if isinstance(args, Pairs) and args.get('id') == self.id: continue           # our own message coming back
            msg = Msg(next(self.count), t, raw, m, src)
            if self.answer and m.has('q') and not m.has('r'): self.respond(msg)
            with self.cv: self.log.append(msg); self.cv.notify_all()
    def respond(self, msg):
        q, r = msg.m.get('q'), [('id', self.id), ('sa', Bin(socket.inet_aton(msg.src[0])))]
        if q in ('find', 'get'): r.append(('token', Bin(b'\x55' * 32)))
        elif q not in ('ping', 'update'): return
        self.send(mp_encode(self.envelope([('r', Pairs(r)), ('t', msg.m.get('t')), ('y', 'r')])), msg.src)
    def envelope(self, pairs):
        return Pairs(list(pairs) + [('v', 'cft1')] + ([('n', self.net)] if self.net else []) + ([('s', True)] if self.client else []))
    def send(self, raw, to=None):
        try: self.s.sendto(raw, to or self.ctx.target)
        except OSError: pass
    def wait(self, f, timeout):
        """f(self) -> truthy result, looked at after every datagram"""
        end = time.time() + timeout
        with self.cv:
            while True:
                r = f()
                left = end - time.time()
                if r or left <= 0: return r
                self.cv.wait(left)
    # ---- requests
    def build(self, q, args, tid):
        return mp_encode(self.envelope([('a', Pairs([('id', self.id)] + list(args))), ('q', q), ('t', tid), ('y', 'q')]))
    def answers(self, tid):
        return [x for x in self.log if x.m.get('t') == tid and not x.m.has('q') and not x.m.has('p')]
    def ask(self, q, args=(), n=1, timeout=ANSWER, tid=None, raw=None):
        """-> the first n answers (reply or error) to one request"""
        tid = tid or self.newtid(); self.send(raw or self.build(q, args, tid))
        r = self.wait(lambda: len(self.answers(tid)) >= n and self.answers(tid), timeout)
        if not r: raise Fail('%s: %d answer(s) in %.1f s, expected %d' % (q, len(self.answers(tid)), timeout, n))
        return r[:n]
    def reply(self, q, args=(), **kw):
        m = self.ask(q, args, **kw)[0]
        if m.m.has('e'): raise Fail('%s answered by error %s' % (q, short(m.m.get('e'))))
        check(isinstance(m.body(), Pairs), '%s: reply without a body' % q)
        check(isinstance(m['id'], Bin) and len(m['id']) == 20 and any(m['id']), '%s: bad node id in the reply' % q)
        return m
    def error(self, code, q, args=(), raw=None, tid=None):
        m = self.ask(q, args, raw=raw, tid=tid)[0]; e = m.m.get('e')
        check(m.m.has('e'), '%s: got a positive answer, expected error %d' % (q, code))
        check(isinstance(e, list) and len(e) == 2 and e[0] == code and isinstance(e[1], str), 'error entry %s, expected [%d, text]' % (short(e), code))
        check(isinstance(m.body(), Pairs) and m['id'] is not None, 'the error has no r: {id}')
        return m
    def token(self, h=None):
        t = self.reply('get', [('h', Bin(h or sha1(b'token')))])['token']
        check(isinstance(t, Bin) and 1 <= len(t) <= 64, 'get reply without a usable token: %s' % short(t))
        return t
    def alive(self):
        try: self.reply('ping')
        except Fail: raise Fail('the target does not answer a ping any more')
    def silent(self, raws, what='', wait=SILENCE):
        """sends datagrams; nothing but requests of the target may come back to this peer, and it must still be alive"""
        raws = [raws] if isinstance(raws, (bytes, bytearray)) else raws
        with self.cv: a, b = len(self.log), len(self.bad)
        for r in raws: self.send(r)
        time.sleep(wait)
        with self.cv: got = [x.raw for x in self.log[a:] if not x.m.has('q') or x.m.has('r')] + self.bad[b:]
        check(not got, '%s: expected silence, got %s' % (what or 'datagram', short(got and got[0])))
        self.alive()
    # ---- values
    def put(self, h, values, token=None, c=None, n=None, timeout=ANSWER, split=1280):
        """values: Pairs or packed bytes; inline or in parts by the rules of the protocol. -> the answers"""
        packed = [v if isinstance(v, bytes) else mp_encode(v) for v in values]; tid = self.newtid()
        for d in self.put_datagrams(h, packed, tid, token or self.token(h), c, split): self.send(d); self.ctx.pace()
        r = self.wait(lambda: len(self.answers(tid)) >= (n or len(packed)) and self.answers(tid), timeout)
        check(r, 'put: %d answer(s), expected %d' % (len(self.answers(tid)), n or len(packed)))
        for x in r: check(not x.m.has('e'), 'put answered by error %s' % short(x.m.get('e')))
        return r
    def put_datagrams(self, h, packed, tid, token, c=None, split=1280, force_parts=False):
        parts = force_parts or len(packed) >= 50 or sum(map(len, packed)) >= 600
        args = [('h', Bin(h)), ('values', [len(p) for p in packed] if parts else [Raw(p) for p in packed])] + ([('c', c)] if c else []) + [('token', token)]
        return [self.build('put', args, tid)] + ([d for i, p in enumerate(packed) for d in self.part_datagrams(i, p, tid, split)] if parts else [])
    def part_datagrams(self, index, packed, tid, split=1280):
        return [part(tid, index, o, packed[o:o + split], self.net) for o in range(0, len(packed), split)]
    def get(self, h, query=None, timeout=4.0):
        """-> (reply, [values as Pairs]); puts parts together"""
        m = self.reply('get', [('h', Bin(h))] + ([('q', query)] if query is not None else []))
        return m, self.assemble(m, m['values'], timeout)
    def assemble(self, m, values, timeout=4.0):
        if not values: return []
        tid = m.m.get('t'); sizes = {i: v for i, v in enumerate(values) if isinstance(v, int)}; out = {}
        def full():
            got = {}
            for x in list(self.log):
                if x.m.has('p') and x.m.get('t') == tid:
                    for i, p in x.m.get('p'): got.setdefault(i, {})[p.get('o')] = bytes(p.get('d'))
            for i, n in sizes.items():
                b = b''.join(got.get(i, {})[o] for o in sorted(got.get(i, {})))
                if len(b) < n: return False
                out[i] = b
            return True
        check(self.wait(full, timeout), 'parts of a reply or update are missing')
        return [unpack(out[i]) if i in out else v for i, v in enumerate(values)]
    def listen(self, h, sid, query=None, token=None, v=1):
        return self.reply('listen', ([('ve', 1)] if v else []) + [('h', Bin(h)), ('token', token or self.token(h)), ('sid', sid)] + ([('q', query)] if query is not None else []))
    def updates(self, sid=None):
        return [x for x in self.log if x.m.get('q') == 'update' and (sid is None or x['sid'] == sid)]
    def distinct(self, sid):
        seen, r = set(), []
        for x in self.updates(sid):
            if x.m.get('t') not in seen: seen.add(x.m.get('t')); r.append(x)
        return r


def part(tid, index, offset, data, net=0):
    return mp_encode(Pairs(([('n', net)] if net else []) + [('y', 'p'), ('t', tid), ('p', Pairs([(index, Pairs([('o', offset), ('d', Bin(data))]))]))]))

def val(vid, data, typ=0, utype=None, prio=None):
    v = Pairs([('id', vid), ('dat', Pairs([('body', Pairs([('type', typ), ('data', Bin(data))] + ([('utype', utype)] if utype is not None else [])))]))])
    if prio: v.append(('p', prio))
    return v

def query(s=(), w=()):
    return Pairs([('s', list(s)), ('w', [Pairs([('f', f), ('v', v)]) for f, v in w])])

def data_of(v):
    d = v.get('dat')
    return bytes(d) if isinstance(d, bytes) else bytes(d.get('body').get('data'))

def one(values):
    check(values, 'nothing got back'); return values[0]

def fields(m):
    check(isinstance(m['fileds'], Pairs) and isinstance(m['fileds'].get('v'), list), 'no field list in the reply'); return m['fileds'].get('v')

def ids(values): return sorted(v.get('id') for v in values)

def vectors(name):
    with open(os.path.join(VEC, name)) as f: return json.load(f)


# ------------------------------------------------------------------ frame

CASES = []

def case(group, name, alone=False, deviates=None, unsafe=None):
    """deviates: reason why release 2.4.12 does otherwise; unsafe: reason why it must not be sent to that release"""
    def d(f):
        CASES.append({'group': group, 'name': name, 'f': f, 'alone': alone, 'deviates': deviates, 'unsafe': unsafe, 'doc': (f.__doc__ or '').strip()}); return f
    return d


class Ctx:
    def __init__(self, target, opts): self.target, self.opts = target, opts; self.shared = {}
    def pace(self): time.sleep(0.0005)          # parts are not acknowledged: do not flood receive buffers


class Box:
    """what one case works with; closes its peers"""
    def __init__(self, ctx): self.ctx, self.peers, self.undo = ctx, [], []
    def peer(self, **kw): p = Peer(self.ctx, **kw); self.peers.append(p); return p
    def key(self): return os.urandom(20)
    def close(self):
        for f in reversed(self.undo):
            try: f()
            except Exception: pass
        for p in self.peers: p.close()


def run_case(c, ctx):
    t0 = time.time(); box = Box(ctx); opts = ctx.opts; detail = ''; ok = False
    try:
        if opts.reference == '2.4.12' and c['unsafe']: return {'ok': True, 'detail': 'not sent: ' + c['unsafe'], 'expected': True, 's': 0}
        detail = c['f'](box) or ''; ok = True
    except Fail as e: detail = str(e)
    except Exception as e: detail = 'harness: %s at %s' % (e, traceback.extract_tb(e.__traceback__)[-1][1:3])
    finally: box.close()
    exp = False
    if not ok and opts.reference == '2.4.12' and c['deviates']: ok, exp, detail = True, True, 'as expected of 2.4.12 (%s): %s' % (c['deviates'], detail)
    return {'ok': ok, 'detail': detail, 'expected': exp, 's': round(time.time() - t0, 2)}


# ------------------------------------------------------------------ raw cases: envelope

def ping_raw(p, drop=(), args=None, more=(), order=None, **over):
    tid = p.newtid(); m = [('a', args if args is not None else Pairs([('id', p.id)])), ('q', 'ping'), ('t', tid), ('y', 'q'), ('v', 'cft1'), ('s', True)]
    m = [(k, over.get(k, v)) for k, v in m if k not in drop] + list(more)
    if order: m = m[::-1]
    return tid, mp_encode(Pairs(m))

@case('raw', 'ping')
def _(b):
    "id, sa, t"
    p = b.peer(); m = p.reply('ping')
    same(m['sa'], socket.inet_aton(p.addr[0]), 'sa'); same(m.m.get('y'), 'r', 'y')
    check(m['id'] == p.reply('ping')['id'], 'the node id changed')
    return 'node %s, v=%s' % (m['id'].hex(), m.m.get('v'))

@case('raw', 'reply-shortest-form')
def _(b):
    "replies use the shortest msgpack forms, hashes are bin"
    p = b.peer(); h = b.key(); p.put(h, [val(5, b'x' * 300)])
    for q, a in (('ping', []), ('find', [('target', Bin(h))]), ('get', [('h', Bin(h))])):
        m = p.reply(q, a); same(mp_encode(unpack(m.raw)), m.raw, q + ' packed again')
        check(isinstance(m['sa'], Bin), 'sa is not bin')

@case('raw', 'envelope-y-missing')
def _(b): p = b.peer(); t, r = ping_raw(p, drop=('y',)); p.reply('ping', tid=t, raw=r)
@case('raw', 'envelope-v-missing')
def _(b): p = b.peer(); t, r = ping_raw(p, drop=('v',)); p.reply('ping', tid=t, raw=r)
@case('raw', 'envelope-any-entry-order')
def _(b): p = b.peer(); t, r = ping_raw(p, order=1); p.reply('ping', tid=t, raw=r)
@case('raw', 'envelope-unknown-entries')
def _(b): p = b.peer(); t, r = ping_raw(p, more=[('zz', [1, 2]), (5, 6), (Bin(b'k'), None)]); p.reply('ping', tid=t, raw=r)
@case('raw', 'envelope-trailing-bytes')
def _(b): p = b.peer(); t, r = ping_raw(p); p.reply('ping', tid=t, raw=r + b'\xc0\xff\x01')
@case('raw', 'envelope-network-0-explicit')
def _(b): p = b.peer(); t, r = ping_raw(p, more=[('n', 0)]); p.reply('ping', tid=t, raw=r)
@case('raw', 'envelope-tid-4-bytes')
def _(b):
    "old form of the transaction id; the answer has the integer"
    p = b.peer()
    for form in (Bin, StrBytes):
        raw4 = os.urandom(3) + b'\xff'; tid = int.from_bytes(raw4, 'big'); _, r = ping_raw(p, t=form(raw4)); p.reply('ping', tid=tid, raw=r)
@case('raw', 'envelope-tid-long-integer-form')
def _(b):
    "a tid written as uint64 is the same tid"
    p = b.peer(); t = p.newtid(); _, r = ping_raw(p, t=Raw(b'\xcf' + struct.pack('>Q', t))); p.reply('ping', tid=t, raw=r)
@case('raw', 'envelope-wrong-y')
def _(b): p = b.peer(); p.silent(ping_raw(p, y='x')[1])
@case('raw', 'envelope-tid-over-32-bits')
def _(b): p = b.peer(); p.silent([ping_raw(p, t=1 << 33)[1], ping_raw(p, t=-1)[1]])
@case('raw', 'envelope-unknown-method')
def _(b): p = b.peer(); p.silent([ping_raw(p, q=q)[1] for q in ('nothing', '', 'PING')])
@case('raw', 'envelope-no-arguments')
def _(b): p = b.peer(); p.silent(ping_raw(p, drop=('a',))[1])
@case('raw', 'envelope-sender-id-bad')
def _(b):
    "missing, zero, 19 or 21 bytes, or a str: dropped"
    p = b.peer(); p.silent([ping_raw(p, args=Pairs(a))[1] for a in ([('x', 1)], [('id', Bin(bytes(20)))], [('id', Bin(p.id[:19]))], [('id', Bin(p.id + b'1'))], [('id', StrBytes(b'\x11' * 20))])])
@case('raw', 'envelope-id-of-the-target')
def _(b): p = b.peer(); n = p.reply('ping')['id']; p.silent(ping_raw(p, args=Pairs([('id', n)]))[1])
@case('raw', 'network-id-other')
def _(b): p = b.peer(); p.silent([ping_raw(p, more=[('n', n)])[1] for n in (1, 9, 0xffffffff)])
@case('raw', 'arguments-not-a-map', unsafe='it may crash')
def _(b): p = b.peer(); p.silent([ping_raw(p, args=a)[1] for a in ([1, 2], 7, 'text', Bin(b'x' * 40), Raw(b'\xc0'), [Pairs([('id', p.id)])])])
@case('raw', 'truncated-at-every-byte')
def _(b):
    p = b.peer(); r = p.build('get', [('h', Bin(b.key())), ('q', query((1,), ((1, 5),)))], p.newtid())
    p.silent([r[:i] for i in range(len(r))])
@case('raw', 'not-msgpack-and-bombs')
def _(b):
    "random bytes, huge announced lengths, deep nesting: silence and survival"
    p = b.peer(); rnd = random.Random(7); lots = [bytes(rnd.randrange(256) for _ in range(rnd.randrange(1, 200))) for _ in range(150)]
    lots = [x for x in lots if not (0x80 <= x[0] <= 0x8f or x[0] in (0xde, 0xdf))]
    lots += [b'\xdd\xff\xff\xff\xff', b'\xdf\xff\xff\xff\xff\xa1a', b'\xdb\xff\xff\xff\xffabc', b'\xc6\xff\xff\xff\xff', b'\xc9\xff\xff\xff\xff\x01', b'\x91' * 20000, b'\x81\xa1a' * 8000, b'\xc1', b'\xc0', b'', b'\x00' * 1400]
    p.silent(lots)
@case('raw', 'stray-answers-ignored')
def _(b):
    "replies, errors, parts and old updates nobody asked for"
    p = b.peer(); i = Pairs([('id', p.id)])
    p.silent([mp_encode(p.envelope(x)) for x in ([('r', Pairs([('id', p.id), ('sa', Bin(b'\x01\x02\x03\x04'))])), ('t', 77), ('y', 'r')], [('e', [401, 'x']), ('r', i), ('t', 78), ('y', 'e')],
              [('r', Pairs([('id', p.id), ('n4', Bin(b'\x01' * 25))])), ('t', 79), ('y', 'r')], [('e', [404, 'no id here']), ('t', 80), ('y', 'e')])] + [part(81, 0, 0, b'abc'), part(81, 0, 0, b''), part(81, 5, 1 << 40, b'zz')])
@case('raw', 'random-mutations-survived')
def _(b):
    "a good put/get/listen with one byte changed, many times; the node must answer pings afterwards"
    p = b.peer(); h = b.key(); tok = p.token(h); rnd = random.Random(11)
    base = [p.build('get', [('h', Bin(h)), ('q', query((1,), ((1, 5),)))], 9), p.build('put', [('h', Bin(h)), ('values', [val(3, b'abc')]), ('token', tok)], 9), p.build('listen', [('ve', 1), ('h', Bin(h)), ('token', tok), ('sid', 3)], 9)]
    for k in range(300):
        r = bytearray(rnd.choice(base)); i = rnd.randrange(3, len(r)); r[i] = rnd.randrange(256)
        if r[3:4] != base[0][3:4]: continue                    # keeps the argument map a map, see arguments-not-a-map
        p.send(bytes(r)); time.sleep(0.001)
    time.sleep(0.3); p.alive(); p2 = b.peer(); p2.put(b.key(), [val(1, b'still works')])

# ------------------------------------------------------------------ raw cases: find

@case('raw', 'find-token-and-nodes')
def _(b):
    p = b.peer(); m = p.reply('find', [('target', Bin(b.key()))]); t = m['token']
    check(isinstance(t, Bin) and 1 <= len(t) <= 64, 'token %s' % short(t)); check(m['n4'] is None or len(m['n4']) % 26 == 0, 'n4 is not a multiple of 26')
    check(m['n6'] is None, 'n6 sent to an IPv4 asker without want')
@case('raw', 'find-want')
def _(b):
    "w: [] no lists; unknown families ignored; [2, 10] fine"
    p = b.peer(); t = ('target', Bin(b.key()))
    for w in ([], [99]):
        m = p.reply('find', [t, ('w', w)]); check(m['n4'] is None and m['n6'] is None, 'nodes sent for w=%s' % w); check(m['token'], 'no token for w=%s' % w)
    p.reply('find', [t, ('w', [2, 10])]); check(p.reply('find', [t, ('w', [10])])['n4'] is None, 'n4 sent for w=[10]')
@case('raw', 'find-want-not-an-array')
def _(b): p = b.peer(); p.silent(p.build('find', [('target', Bin(b.key())), ('w', 2)], p.newtid()))
@case('raw', 'find-without-target')
def _(b): p = b.peer(); check(p.reply('find')['token'], 'no token')

# ------------------------------------------------------------------ raw cases: get, put

@case('raw', 'get-empty')
def _(b):
    p = b.peer(); m = p.reply('get', [('h', Bin(b.key()))])
    check(m['values'] is None and m['fileds'] is None, 'values for an unknown key'); check(m['token'], 'no token')
@case('raw', 'get-without-key')
def _(b): p = b.peer(); p.error(203, 'get'); p.error(203, 'get', [('h', Bin(bytes(20)))])
@case('raw', 'put-and-get')
def _(b):
    "64 bit id, user type, priority come back; the put reply has id, vid, sa"
    p = b.peer(); h = b.key(); v = val((1 << 63) + 5, b'hello', utype='text/plain', prio=1)
    r = p.put(h, [v], c=int(time.time()) - 1)[0]; same(r['vid'], (1 << 63) + 5, 'vid'); same(r['sa'], socket.inet_aton(p.addr[0]), 'sa')
    m, got = p.get(h); same([mp_encode(x) for x in got], [mp_encode(v)], 'value got back'); check(m['token'], 'no token in a reply with values')
@case('raw', 'put-two-values-two-replies')
def _(b):
    p = b.peer(); h = b.key(); r = p.put(h, [val(21, b'a'), val(22, b'b')]); same(sorted(x['vid'] for x in r), [21, 22], 'vids'); same(ids(p.get(h)[1]), [21, 22], 'stored')
@case('raw', 'put-in-another-order-of-entries')
def _(b):
    "value written with another entry order and long integer forms is understood"
    p = b.peer(); h = b.key(); body = mp_encode(Pairs([('data', Bin(b'odd')), ('type', 0)])).replace(b'type\x00', b'type\xcd\x00\x00')
    p.put(h, [mp_encode(Pairs([('dat', Pairs([('body', Raw(body))])), ('id', Raw(b'\xcf' + struct.pack('>Q', 31)))]))]); same(data_of(one(p.get(h)[1])), b'odd', 'data')
@case('raw', 'put-data-as-str')
def _(b):
    "accepted, comes back as bin"
    p = b.peer(); h = b.key(); p.put(h, [Pairs([('id', 6), ('dat', Pairs([('body', Pairs([('type', 0), ('data', 'text')]))]))])])
    d = one(p.get(h)[1]).get('dat').get('body').get('data'); check(isinstance(d, Bin) and d == b'text', 'data came back as %r' % d)
@case('raw', 'put-opaque-encrypted')
def _(b):
    p = b.peer(); h = b.key(); c = os.urandom(40); p.put(h, [Pairs([('id', 7), ('dat', Bin(c))])]); same(data_of(one(p.get(h)[1])), c, 'cypher text')
@case('raw', 'put-unreadable-values')
def _(b):
    "no reply at all when nothing is readable; one for the good one among bad ones"
    p = b.peer(); h = b.key(); tok = p.token(h); mk = lambda vs: p.build('put', [('h', Bin(h)), ('values', vs), ('token', tok)], p.newtid())
    p.silent([mk([Pairs([('id', 6)])]), mk([Pairs([('id', 6), ('dat', 3)])]), mk([]), mk(['x'])])
    tid = p.newtid(); p.ask('put', raw=p.build('put', [('h', Bin(h)), ('values', [Pairs([('id', 6)]), val(8, b'good')]), ('token', tok)], tid), tid=tid); time.sleep(0.3)
    same([x['vid'] for x in p.answers(tid)], [8], 'answers'); same(ids(p.get(h)[1]), [8], 'stored')
@case('raw', 'put-without-key-or-id')
def _(b):
    p = b.peer(); t = p.token(); p.error(203, 'put', [('values', [val(1, b'x')]), ('token', t)]); p.error(203, 'put', [('h', Bin(bytes(20))), ('values', [val(1, b'x')]), ('token', t)])
    h = b.key(); p.error(203, 'put', [('h', Bin(h)), ('values', [val(0, b'x')]), ('token', t)]); same(p.get(h)[1], [], 'stored')
@case('raw', 'put-token-checked')
def _(b):
    "missing, wrong, cut, of another port, of another address: 401 and not stored; the good one serves every key"
    p, q = b.peer(), b.peer(); h = b.key(); t = p.token(h)
    def a(tok): return [('h', Bin(h)), ('values', [val(1, b'x')])] + ([('token', tok)] if tok is not None else [])
    for tok in (None, Bin(b'\xee' * 32), Bin(t[:-1]), Bin(t + b'\0'), Bin(b'')): p.error(401, 'put', a(tok))
    q.error(401, 'put', a(t))
    r = b.peer(ip='127.0.0.2'); r.error(401, 'put', a(t)); same(p.get(h)[1], [], 'stored')
    p.put(b.key(), [val(1, b'x')], token=t)
@case('raw', 'put-token-as-array-accepted')
def _(b):
    "blobs may be written as an array of small integers"
    p = b.peer(); h = b.key(); t = p.token(h); p.reply('put', [('h', Bin(h)), ('values', [val(1, b'x')]), ('token', list(t))])
@case('raw', 'put-edit-of-unsigned-refused')
def _(b):
    "positive answer, nothing changes"
    p = b.peer(); h = b.key(); p.put(h, [val(9, b'first')]); p.put(h, [val(9, b'second')]); same([data_of(v) for v in p.get(h)[1]], [b'first'], 'stored')
@case('raw', 'put-creation-time')
def _(b):
    "an hour old: answered, not stored; an hour in the future: stored"
    p = b.peer(); h = b.key(); now = int(time.time()); p.put(h, [val(1, b'old')], c=now - 3600); p.put(h, [val(2, b'new')], c=now + 3600); same(ids(p.get(h)[1]), [2], 'stored')
@case('raw', 'value-expires')
def _(b):
    "type 0 lives 600 s: created 597 s ago it is gone 5 s later; a type 4 created then stays"
    p = b.peer(); h = b.key(); now = int(time.time()); p.put(h, [val(1, b'short')], c=now - 597); p.put(h, [val(2, b'week', 4)], c=now - 597); same(ids(p.get(h)[1]), [1, 2], 'at once'); time.sleep(5); same(ids(p.get(h)[1]), [2], 'after 5 s')
@case('raw', 'refresh-extends-life')
def _(b):
    "by refresh, and by an identical put"
    p = b.peer(); h = b.key(); now = int(time.time())
    for i in (1, 2, 3): p.put(h, [val(i, b'v%d' % i)], c=now - 596)
    r = p.reply('refresh', [('h', Bin(h)), ('vid', 1), ('token', p.token(h))]); same(r['vid'], 1, 'vid'); p.put(h, [val(2, b'v2')]); time.sleep(6); same(ids(p.get(h)[1]), [1, 2], 'after 6 s')
@case('raw', 'refresh-errors')
def _(b):
    p = b.peer(); h = b.key(); p.put(h, [val(1, b'x')]); t = p.token(h)
    p.error(401, 'refresh', [('h', Bin(h)), ('vid', 1), ('token', Bin(b'\xee' * 32))]); p.error(404, 'refresh', [('h', Bin(b.key())), ('vid', 1), ('token', t)])
    p.reply('refresh', [('h', Bin(h)), ('vid', 424242), ('token', t)])
@case('raw', 'default-lifetimes')
def _(b):
    "one value of each type, created just before and just after its end of life"
    p = b.peer(); life = {0: 600, 1: 300, 3: 300, 4: 604800, 5: 60, 99: 600}; h = b.key(); now = int(time.time()); want = []
    for i, (t, s) in enumerate(sorted(life.items())):
        d = mp_encode(['svc', Bin(b'm')]) if t == 1 else b'x%d' % t
        p.put(h, [val(10 + i, d, t)], c=now - s + 20); want.append(10 + i); p.put(h, [val(30 + i, d, t)], c=now - s - 20)
    same(ids(p.get(h)[1]), want, 'stored')

@case('raw', 'type-1-empty-service-refused')
def _(b): p = b.peer(); h = b.key(); p.put(h, [val(1, mp_encode(['', Bin(b'm')]), 1)]); p.put(h, [val(2, mp_encode(['svc', Bin(b'm')]), 1)]); same(ids(p.get(h)[1]), [2], 'stored')
@case('raw', 'type-2-address-replaced')
def _(b):
    "IP announcement: address of the sender, port kept; port 0 refused"
    p = b.peer(); h = b.key(); mk = lambda port, ip: mp_encode(Bin(struct.pack('<H', 2) + struct.pack('>H', port) + socket.inet_aton(ip) + bytes(8)))
    p.put(h, [val(1, mk(5555, '10.1.2.3'), 2)]); p.put(h, [val(2, mk(0, '10.1.2.3'), 2)]); got = p.get(h)[1]; same(ids(got), [1], 'stored'); same(data_of(got[0]), mk(5555, p.addr[0]), 'data')
@case('raw', 'type-unknown-stored')
def _(b): p = b.peer(); h = b.key(); p.put(h, [val(1, b'unknown', 4242)]); same(ids(p.get(h)[1]), [1], 'stored')

def certificates():
    for x in vectors('certificates.json')['publication']['puts']: yield x['from'], bytes.fromhex(x['key']), bytes.fromhex(x['values'][0]['hex'])
@case('raw', 'certificate-at-key-id')
def _(b):
    "type 8: stored at SHA-1 of the public key, nowhere else; junk refused"
    p = b.peer(); n = 0
    for who, k, v in certificates():
        p.put(k, [v]); got = p.get(k, query((), ((2, 8),)))[1]; same([mp_encode(x) for x in got], [v], 'certificate of %s at its key' % who); h = b.key(); p.put(h, [v]); same(p.get(h)[1], [], 'certificate at a foreign key'); n += 1
    h = b.key(); p.put(h, [val(6, b'xxx', 8)]); same(p.get(h)[1], [], 'junk of type 8'); return '%d certificates' % n
@case('raw', 'certificate-at-long-key-id', deviates='only since 2.5.4')
def _(b):
    "also stored at SHA-1 of the long key id"
    p = b.peer(); keys = vectors('keys.json')['keys']
    for who, k, v in certificates():
        k2 = bytes.fromhex(keys[who]['sha1_of_long_id']); p.put(k2, [v]); same(len(p.get(k2)[1]), 1, 'certificates of %s at K2' % who)

@case('raw', 'signed-edit-rules')
def _(b):
    "13 puts of pre-signed values one after the other (values_signed.json): who may replace what"
    p = b.peer(); h = b.key(); rules = vectors('values_signed.json')['edit_rules']
    for s in rules['steps']:
        v = bytes.fromhex(s['value']); vid = unpack(v).get('id'); p.put(h, [v]); got = p.get(h, query((), ((1, vid),)))[1]
        same(data_of(got[0]).decode('latin1') if got else None, s['stored_data_afterwards'], s['step'])
    return '%d steps' % len(rules['steps'])
@case('raw', 'signed-value-unchanged')
def _(b):
    "owner, seq, recipient and signature come back byte by byte"
    p = b.peer(); h = b.key(); n = 0
    for c in vectors('values_signed.json')['captured']:
        v = bytes.fromhex(c['value']); vid = unpack(v).get('id')
        if n == 0 or vid not in [unpack(bytes.fromhex(x['value'])).get('id') for x in vectors('values_signed.json')['captured'][:1]]:
            p.put(h, [v]); same([mp_encode(x) for x in p.get(h, query((), ((1, vid),)))[1]], [v], c['name']); n += 1
@case('raw', 'signed-tampered-refused')
def _(b):
    "owner, data or sequence changed without a new signature"
    p = b.peer(); v = unpack(bytes.fromhex(vectors('values_signed.json')['captured'][0]['value'])); h = b.key()
    def change(k, x):
        body = Pairs([(a, x if a == k else y) for a, y in v.get('dat').get('body')]); return Pairs([('id', random.getrandbits(60) + 1), ('dat', Pairs([('body', body), ('sig', v.get('dat').get('sig'))]))])
    for k, x in (('data', Bin(b'forged')), ('seq', 65000), ('type', 3), ('utype', 'z')): p.put(h, [change(k, x)])
    same(p.get(h)[1], [], 'stored'); p.put(h, [v]); same(len(p.get(h)[1]), 1, 'the untouched one')

# ------------------------------------------------------------------ raw cases: queries

def five(b, p):
    h = b.key(); p.put(h, [val(1, b'a', utype='text/plain'), val(2, b'b'), val(3, b'c', 3)]); s = bytes.fromhex(vectors('values_signed.json')['edit_rules']['steps'][0]['value']); p.put(h, [s]); return h, unpack(s)
@case('raw', 'query-where')
def _(b):
    "id, type, owner (short key id), user type (bin), and-ed terms"
    p = b.peer(); h, s = five(b, p); owner = sha1(bytes(s.get('dat').get('body').get('owner'))); sid = s.get('id')
    for w, want in ((((1, 2),), [2]), (((1, 77),), []), (((2, 3),), [3]), (((2, 0),), sorted([1, 2, sid])), (((3, Bin(owner)),), [sid]), (((3, Bin(b'\1' * 20)),), []), (((5, Bin(b'text/plain')),), [1]), (((5, Bin(b'text/plain')), (1, 2)), []), (((2, 0), (1, 2)), [2])):
        same(ids(p.get(h, query((), w))[1]), want, 'where %s' % short(w))
@case('raw', 'query-select')
def _(b):
    "fileds: f in rising order, v flat; no values"
    p = b.peer(); h, s = five(b, p)
    for sel, width in (((1,), 1), ((1, 4), 2), ((5, 1), 2), ((1, 2, 4, 5), 4)):
        m = p.reply('get', [('h', Bin(h)), ('q', query(sel, ((2, 0),)))]); f = m['fileds']; check(isinstance(f, Pairs), 'no fileds for select %s' % (sel,)); check(m['values'] is None, 'values beside fileds')
        same(f.get('f'), sorted(sel), 'f'); v = f.get('v'); same(len(v), 3 * width, 'entries in v'); rows = sorted(tuple(v[i:i + width]) for i in range(0, len(v), width))
        full = {1: (1, 0, 0, 'text/plain'), 2: (2, 0, 0, ''), s.get('id'): (s.get('id'), 0, s.get('dat').get('body').get('seq'), '')}; col = {1: 0, 2: 1, 4: 2, 5: 3}
        same(rows, sorted(tuple(x[col[k]] for k in sorted(sel)) for x in full.values()), 'rows of select %s' % (sel,))
@case('raw', 'query-select-owner')
def _(b):
    "the whole public key, or 20 zero bytes"
    p = b.peer(); h, s = five(b, p); v = fields(p.reply('get', [('h', Bin(h)), ('q', query((1, 3), ()))])); rows = dict(zip(v[::2], v[1::2]))
    same(rows[1], bytes(20), 'owner of an unsigned value'); same(rows[s.get('id')], s.get('dat').get('body').get('owner'), 'owner of a signed value')
@case('raw', 'query-select-nothing-matches')
def _(b): p = b.peer(); m = p.reply('get', [('h', Bin(b.key())), ('q', query((1,), ()))]); check(m['fileds'] is None and m['values'] is None, 'fields of nothing')
@case('raw', 'query-malformed-dropped')
def _(b):
    "w missing, a filter on seq, a filter value of the wrong type: the message is dropped"
    p = b.peer(); h, _ = five(b, p); mk = lambda q: p.build('get', [('h', Bin(h)), ('q', q)], p.newtid())
    p.silent([mk(Pairs([('s', [1])])), mk(query((), ((4, 0),))), mk(query((), ((3, Bin(b'short')),))), mk(query((), ((1, 'x'),)))])
@case('raw', 'encrypted-counts-as-type-0')
def _(b):
    p = b.peer(); h = b.key(); c = unpack(bytes.fromhex(vectors('values_encrypted.json')['captured'][0]['value'])); p.put(h, [c]); same(ids(p.get(h, query((), ((2, 0),)))[1]), [c.get('id')], 'where type = 0')
    f = fields(p.reply('get', [('h', Bin(h)), ('q', query((1, 2, 3, 4, 5), ()))])); same(f, [c.get('id'), 0, bytes(20), 0, ''], 'all fields')

# ------------------------------------------------------------------ raw cases: parts

def sized(vid, packed_size):
    v = val(vid, b''); n = packed_size - len(mp_encode(v))
    while True:
        x = mp_encode(val(vid, bytes((i * 7 + vid) & 255 for i in range(n))))
        if len(x) == packed_size: return x
        if len(x) < packed_size: raise Fail('no value of that size')
        n -= 1
@case('raw', 'reply-inline-below-600')
def _(b):
    "599 packed bytes inline, 600 by size and parts; 49 small values inline, 50 in parts"
    p = b.peer(); h = b.key(); p.put(h, [sized(5, 599)]); same(isinstance(one(p.get(h)[0]['values']), Pairs), True, '599 bytes inline')
    h = b.key(); p.put(h, [sized(5, 600)]); m, v = p.get(h); same(m['values'], [600], '600 bytes announced'); same(mp_encode(one(v)), sized(5, 600), 'value')
    h = b.key(); small = lambda i: Pairs([('id', i), ('dat', Bin(b'c'))])            # 12 bytes: there is no smaller value
    for i in range(1, 50, 7): p.put(h, [small(k) for k in range(i, min(50, i + 7))])
    m, v = p.get(h); same((len(v), all(isinstance(x, Pairs) for x in m['values'])), (49, True), '49 values'); p.put(h, [small(50)])
    m, v = p.get(h); same((len(v), all(isinstance(x, int) for x in m['values'])), (50, True), '50 values')
@case('raw', 'parts-sent-form')
def _(b):
    "parts of the target: tid of the request, integer index, 1280 bytes each, rising offsets"
    p = b.peer(); h = b.key(); v = mp_encode(val(5, os.urandom(3000))); p.put(h, [v]); m, got = p.get(h); same(mp_encode(one(got)), v, 'value'); ps = [x for x in p.log if x.m.has('p')]
    same([(x.m.get('y'), x.m.get('t'), x.m.has('a'), x.m.has('r')) for x in ps], [('p', m.m.get('t'), False, False)] * len(ps), 'envelope of the parts')
    same([(i, y.get('o'), len(y.get('d')) <= 1280) for x in ps for i, y in x.m.get('p')], [(0, o, True) for o in range(0, len(v), 1280)], 'index, offset'); check(all(x.n > m.n for x in ps), 'part before the reply')
@case('raw', 'parts-60-kB')
def _(b): p = b.peer(); h = b.key(); d = os.urandom(60000); p.put(h, [val(5, d)]); same(data_of(one(p.get(h)[1])), d, 'data')
@case('raw', 'parts-two-values')
def _(b): p = b.peer(); h = b.key(); a, c = val(1, os.urandom(2000)), val(2, os.urandom(1500)); p.put(h, [a, c]); same(sorted(mp_encode(v) for v in p.get(h)[1]), sorted([mp_encode(a), mp_encode(c)]), 'values')
@case('raw', 'parts-mixed-with-inline')
def _(b):
    p = b.peer(); h = b.key(); tid = p.newtid(); big = mp_encode(val(2, os.urandom(2000)))
    p.send(p.build('put', [('h', Bin(h)), ('values', [val(1, b'inline'), len(big)]), ('token', p.token(h))], tid))
    for d in p.part_datagrams(1, big, tid): p.send(d)
    check(p.wait(lambda: len(p.answers(tid)) == 2, ANSWER), 'answers: %d of 2' % len(p.answers(tid))); same(ids(p.get(h)[1]), [1, 2], 'stored')
def parts_run(b, order, stranger=None, pause=0.01, wait=1.0, size=3000):
    p = b.peer(); h = b.key(); v = mp_encode(val(5, os.urandom(size))); tid = p.newtid(); ds = p.put_datagrams(h, [v], tid, p.token(h)); o = b.peer() if stranger is not None else None
    for k, i in enumerate(order): (o if i == stranger else p).send(ds[i]); time.sleep(pause)
    ok = bool(p.wait(lambda: p.answers(tid), wait)); p.alive(); return p, h, v, ok, ds, tid
@case('raw', 'parts-repeated')
def _(b): p, h, v, ok, _, _ = parts_run(b, [0, 1, 1, 2, 1, 2, 3, 3]); check(ok, 'no answer'); same([mp_encode(x) for x in p.get(h)[1]], [v], 'value')
@case('raw', 'parts-request-repeated')
def _(b):
    "header and parts twice with the same tid, as after a lost answer: answered both times or once, stored once"
    p, h, v, ok, _, _ = parts_run(b, [0, 1, 2, 3, 0, 1, 2, 3]); check(ok, 'no answer'); same([mp_encode(x) for x in p.get(h)[1]], [v], 'value')
@case('raw', 'parts-out-of-order', deviates='any order only since 3.7.3')
def _(b): p, h, v, ok, _, _ = parts_run(b, [0, 3, 1, 2]); check(ok, 'no answer'); same([mp_encode(x) for x in p.get(h)[1]], [v], 'value')
@case('raw', 'parts-before-header', deviates='only since 4.3.0')
def _(b): p, h, v, ok, _, _ = parts_run(b, [1, 0, 2, 3]); check(ok, 'no answer'); same([mp_encode(x) for x in p.get(h)[1]], [v], 'value')
@case('raw', 'parts-missing')
def _(b):
    "never completed: no answer, nothing stored; sent again as a whole it is taken"
    p, h, v, ok, ds, tid = parts_run(b, [0, 1, 3], wait=0.6); check(not ok, 'answered an incomplete put'); same(p.get(h)[1], [], 'stored'); time.sleep(3.2)
    for d in ds: p.send(d); time.sleep(0.01)
    check(p.wait(lambda: p.answers(tid), ANSWER), 'no answer to the complete repetition'); same([mp_encode(x) for x in p.get(h)[1]], [v], 'value')
@case('raw', 'parts-from-a-stranger-ignored')
def _(b): p, h, v, ok, _, _ = parts_run(b, [0, 1, 2, 3], stranger=2, wait=0.6); check(not ok, 'part of another port was taken'); same(p.get(h)[1], [], 'stored')
@case('raw', 'parts-slow')
def _(b): p, h, v, ok, _, _ = parts_run(b, [0, 1, 2, 3], pause=1.8, wait=2.0); check(ok, 'no answer with 1.8 s between parts')
@case('raw', 'parts-too-slow')
def _(b):
    "4 s of pause: given up"
    p = b.peer(); h = b.key(); v = mp_encode(val(5, os.urandom(3000))); tid = p.newtid(); ds = p.put_datagrams(h, [v], tid, p.token(h)); p.send(ds[0]); p.send(ds[1]); time.sleep(4.5); p.send(ds[2]); p.send(ds[3]); time.sleep(0.8)
    check(not p.answers(tid), 'answered after a pause of 4.5 s'); same(p.get(h)[1], [], 'stored')
@case('raw', 'parts-same-tid-two-peers', deviates='keyed by tid alone before 4.3.0')
def _(b):
    p, q = b.peer(), b.peer(); h = b.key(); tid = 0x12345678; vs = [mp_encode(val(i, os.urandom(3000))) for i in (1, 2)]; ds = [x.put_datagrams(h, [v], tid, x.token(h)) for x, v in ((p, vs[0]), (q, vs[1]))]
    for i in range(4): p.send(ds[0][i]); q.send(ds[1][i]); time.sleep(0.01)
    check(p.wait(lambda: p.answers(tid), ANSWER), 'first peer not answered'); check(q.wait(lambda: q.answers(tid), ANSWER), 'second peer not answered'); same(ids(p.get(h)[1]), [1, 2], 'stored')
@case('raw', 'parts-interleaved-two-puts')
def _(b):
    p = b.peer(); h = b.key(); vs = [mp_encode(val(i, os.urandom(3000))) for i in (1, 2)]; tids = [p.newtid(), p.newtid()]; tok = p.token(h); ds = [p.put_datagrams(h, [v], t, tok) for v, t in zip(vs, tids)]
    for i in range(4):
        for d in ds: p.send(d[i]); time.sleep(0.005)
    for t in tids: check(p.wait(lambda: p.answers(t), ANSWER), 'one of two puts not answered')
    same(ids(p.get(h)[1]), [1, 2], 'stored')
@case('raw', 'parts-string-index-ignored')
def _(b):
    "the part index is an integer; as a str it is not read"
    p = b.peer(); h = b.key(); v = mp_encode(val(5, os.urandom(2000))); tid = p.newtid(); p.send(p.put_datagrams(h, [v], tid, p.token(h))[0])
    for o in range(0, len(v), 1280): p.send(mp_encode(Pairs([('y', 'p'), ('t', tid), ('p', Pairs([('0', Pairs([('o', o), ('d', Bin(v[o:o + 1280]))]))]))])))
    time.sleep(0.6); p.alive(); same(p.get(h)[1], [], 'stored')
@case('raw', 'parts-of-nonsense')
def _(b):
    "offset beyond the size, more bytes than announced, unknown index, bytes that are no value: survived, not stored"
    p = b.peer(); h = b.key(); tok = p.token(h); v = mp_encode(val(5, os.urandom(2000)))
    for ps in ([(0, 5000, v)], [(7, 0, v)], [(0, 0, os.urandom(len(v)))], [(0, 1 << 62, b'x')], [(1 << 31, 0, b'x')], [(0, 0, v[:1280]), (0, 1000, v[1000:])]):
        tid = p.newtid(); p.send(p.build('put', [('h', Bin(h)), ('values', [len(v)]), ('token', tok)], tid))
        for i, o, d in ps: p.send(part(tid, i, o, d))
        time.sleep(0.05)
    time.sleep(0.4); p.alive(); same(p.get(h)[1], [], 'stored')
@case('raw', 'announced-size-limits')
def _(b):
    "65568 bytes are taken; 65569 bytes, 4 GB and 2^63 are skipped: no answer"
    p = b.peer(); h = b.key(); tok = p.token(h); mk = lambda n: p.build('put', [('h', Bin(h)), ('values', [n]), ('token', tok)], p.newtid()); p.silent([mk(65569), mk(1 << 32), mk(1 << 63)])
    tid = p.newtid(); over = sized((1 << 63) + 1, 65569)
    for d in p.put_datagrams(h, [over], tid, tok): p.send(d); b.ctx.pace()
    time.sleep(0.8); check(not p.answers(tid), '65569 bytes answered'); same(p.get(h)[1], [], 'stored')
    ok = sized((1 << 63) + 2, 65568); p.put(h, [ok], token=tok, timeout=4.0); same([mp_encode(x) for x in p.get(h)[1]], [ok], 'value of 65568 bytes')
@case('raw', 'announced-many-values')
def _(b):
    "10000 announced sizes and no part: survived, other puts go on"
    p = b.peer(); h = b.key(); tok = p.token(h)
    for _ in range(20): p.send(p.build('put', [('h', Bin(h)), ('values', [60000] * 10000), ('token', tok)], p.newtid())); time.sleep(0.01)
    p.alive(); p.put(h, [val(1, os.urandom(2000))]); same(ids(p.get(h)[1]), [1], 'stored')

# ------------------------------------------------------------------ raw cases: listen

@case('raw', 'listen-update')
def _(b):
    "the push has ve, h, sid, values, token, comes before the answer to the put, and its token is good for the next put"
    p, o = b.peer(), b.peer(); h = b.key(); p.listen(h, 901); r = p.put(h, [val(1, b'mine')])[0]; u = p.wait(lambda: p.updates(901), ANSWER); check(u, 'no update'); u = u[0]
    same((u['ve'], bytes(u['h']), u['sid'], ids(u['values'])), (1, h, 901, [1]), 'update'); check(u.n < r.n, 'the update came after the put reply'); check(isinstance(u['token'], Bin), 'no token'); p.put(h, [val(2, b'again')], token=u['token'])
    o.put(h, [val(3, b'of another')]); check(p.wait(lambda: any(x['values'] and ids(x['values']) == [3] for x in p.updates(901)), ANSWER), 'no update for the put of another node')
@case('raw', 'listen-existing-values-first')
def _(b):
    p = b.peer(); h = b.key(); p.put(h, [val(1, b'a'), val(2, b'b')]); r = p.listen(h, 902); check(p.wait(lambda: p.updates(902), ANSWER), 'stored values not pushed'); u = p.updates(902)[0]; same(ids(u['values']), [1, 2], 'values'); check(u.n < r.n, 'pushed after the reply')
@case('raw', 'listen-same-sid-renews')
def _(b):
    "the second listen with the same sid pushes nothing; puts are pushed once"
    p = b.peer(); h = b.key(); p.put(h, [val(1, b'a')]); p.listen(h, 903); p.listen(h, 903); p.put(h, [val(2, b'b')]); time.sleep(0.6); same([ids(x['values']) for x in p.distinct(903)], [[1], [2]], 'updates')
@case('raw', 'listen-refreshed')
def _(b):
    "re: on a refresh and on an identical put"
    p = b.peer(); h = b.key(); p.put(h, [val(1, b'a')]); p.listen(h, 904); t = p.token(h); p.reply('refresh', [('h', Bin(h)), ('vid', 1), ('token', t)]); p.put(h, [val(1, b'a')], token=t); time.sleep(0.5)
    us = [x for x in p.distinct(904) if x['re'] is not None]; same([x['re'] for x in us], [[1], [1]], 're'); check(all(x['values'] is None and x['token'] for x in us), 'shape of the re update')
@case('raw', 'listen-expired')
def _(b):
    p = b.peer(); h = b.key(); p.listen(h, 905); p.put(h, [val(1, b'short')], c=int(time.time()) - 597); check(p.wait(lambda: [x for x in p.updates(905) if x['exp'] == [1]], 7), 'no exp update within 7 s of a 3 s life'); check([x for x in p.updates(905) if x['exp']][0]['token'], 'no token')
@case('raw', 'listen-query')
def _(b):
    "only what passes the filter is pushed"
    p = b.peer(); h = b.key(); p.put(h, [val(1, b'a'), val(2, b'b', 3)]); p.listen(h, 906, query((), ((2, 3),))); p.put(h, [val(3, b'c')]); p.put(h, [val(4, b'd', 3)]); time.sleep(0.5); same([ids(x['values']) for x in p.distinct(906) if x['values']], [[2], [4]], 'pushed')
@case('raw', 'listen-big-value-in-parts')
def _(b):
    p = b.peer(); h = b.key(); p.listen(h, 907); v = val(1, os.urandom(20000)); p.put(h, [v]); u = p.wait(lambda: p.updates(907), ANSWER); check(u, 'no update'); same(mp_encode(p.assemble(u[0], u[0]['values'])[0]), mp_encode(v), 'value')
@case('raw', 'listen-signed-edit-pushed')
def _(b):
    p = b.peer(); h = b.key(); st = vectors('values_signed.json')['edit_rules']['steps']; p.listen(h, 908); p.put(h, [bytes.fromhex(st[0]['value'])]); p.put(h, [bytes.fromhex(st[1]['value'])]); p.put(h, [bytes.fromhex(st[2]['value'])]); time.sleep(0.6)
    same([data_of(p.assemble(x, x['values'])[0]) for x in p.distinct(908) if x['values']], [b'five', b'six'], 'pushed')
@case('raw', 'listen-two-listeners')
def _(b):
    p, q = b.peer(), b.peer(); h = b.key(); p.listen(h, 909); q.listen(h, 910); p.put(h, [val(1, b'x')])
    for x, s in ((p, 909), (q, 910)): check(x.wait(lambda: x.updates(s), ANSWER), 'listener %d got nothing' % s)
@case('raw', 'listen-errors')
def _(b):
    "401 without a good token, and then no push; 203 without key"
    p = b.peer(); h = b.key(); p.error(401, 'listen', [('ve', 1), ('h', Bin(h)), ('token', Bin(b'\xee' * 32)), ('sid', 911)]); p.error(401, 'listen', [('ve', 1), ('h', Bin(h)), ('sid', 911)]); p.error(203, 'listen', [('ve', 1), ('token', p.token(h)), ('sid', 911)])
    p.put(h, [val(1, b'x')]); time.sleep(0.4); same(len(p.updates()), 0, 'updates')
@case('raw', 'listen-push-repeated-until-answered')
def _(b):
    "three sendings, same bytes, gaps about 1.1 s and 2.4 s; an answered one is not repeated"
    p = b.peer(answer=False); q = b.peer(); h = b.key(); p.listen(h, 912); q.listen(h, 913); q.put(h, [val(1, b'x')]); time.sleep(9.0); u = p.updates(912); t = [x.t - u[0].t for x in u] if u else []
    same(len(u), 3, 'sendings'); check(len({x.raw for x in u}) == 1, 'bytes differ between repetitions'); check(0.7 <= t[1] <= 1.8 and 2.2 <= t[2] <= 5.0, 'times %s' % ['%.2f' % x for x in t]); same(len(q.updates(913)), 1, 'sendings of the answered one'); return 'at ' + ', '.join('%.2f' % x for x in t)
@case('raw', 'listen-old-style')
def _(b):
    "without ve: pushes are replies with tid = sid, refreshes come in u"
    p, o = b.peer(), b.peer(); h = b.key(); p.put(h, [val(1, b'x')]); p.listen(h, 914, v=0); o.put(h, [val(2, b'y')]); o.reply('refresh', [('h', Bin(h)), ('vid', 2), ('token', o.token(h))]); time.sleep(0.5)
    got = [x for x in p.log if x.m.get('t') == 914]; vals = sorted(v.get('id') for x in got if x.m.has('r') for v in x['values'] or []); check(2 in vals, 'new value not pushed (got %s)' % vals); check(any(isinstance(x.m.get('u'), Pairs) and x.m.get('u').get('re') == [2] for x in got), 'no u message'); check(not p.updates(), 'update request to an old-style listener')
@case('raw', 'update-for-unknown-sid-answered')
def _(b):
    p = b.peer()
    for a in ([('ve', 1), ('h', Bin(b.key())), ('sid', 4444), ('values', [val(1, b'x')]), ('token', Bin(b'\x01' * 32))], [('sid', 4444), ('token', Bin(b'\x01' * 32)), ('exp', [1])]): p.reply('update', a)

# ------------------------------------------------------------------ raw cases: the target as an asker, limits

@case('raw', 'nodes-learnt-and-checked')
def _(b):
    "four answering nodes that pinged the target: it queries them and gives them out in n4, sorted, within 60 s (one of them at least, two are waited for 30 s); a client (s: true) never"
    full = [b.peer(client=False) for _ in range(4)]; cl = b.peer()
    for p in full + [cl]: p.reply('ping')
    t0 = time.time(); end = t0 + 60; seen = {}
    while time.time() < end:
        target = b.key(); n4 = full[0].reply('find', [('target', Bin(target))])['n4'] or b''; seen = {bytes(n4[i:i + 20]): (socket.inet_ntoa(n4[i + 20:i + 24]), struct.unpack('>H', n4[i + 24:i + 26])[0]) for i in range(0, len(n4), 26)}
        known = sum(bytes(p.id) in seen for p in full)
        if known >= 2 or (known and time.time() > t0 + 30): break
        time.sleep(1)
    check(known, 'none of 4 nodes given out after 60 s'); check(all(seen.get(bytes(p.id), p.addr) == p.addr for p in full), 'wrong address in n4')
    order = [bytes(n4[i:i + 20]) for i in range(0, len(n4), 26)]; dist = [int.from_bytes(x, 'big') ^ int.from_bytes(target, 'big') for x in order]; same(dist, sorted(dist), 'XOR order of n4'); check(bytes(cl.id) not in seen, 'a client is given out')
    qs = [x for p in full for x in p.log if x.m.has('q')]; check(qs, 'the target asked none of its new nodes'); tid = full[0].reply('ping')['id']
    for x in qs: check(x['id'] == tid and x.m.get('q') in ('ping', 'find', 'get') and isinstance(x.m.get('t'), int) and x.m.get('y') == 'q', 'odd query %s' % short(x.raw)); same(mp_encode(unpack(x.raw)), x.raw, 'query packed again')
    return '%d of 4 given out after %.0f s; %d queries seen: %s' % (known, time.time() - t0, len(qs), ' '.join(sorted({x.m.get('q') for x in qs})))

@case('raw', 'rate-limit-per-address', alone=True)
def _(b):
    "3000 pings at once from one address: about 1024 answers; another address is served meanwhile"
    lim = b.ctx.opts.rate_limit
    if not lim: return 'not checked (--rate-limit 0)'
    p, o = b.peer(ip='127.0.0.9'), b.peer(); raws = [p.build('ping', [], p.newtid()) for _ in range(3 * lim)]; t0 = time.time()
    for i, r in enumerate(raws):
        p.send(r)
        if i % 25 == 24: time.sleep(0.002)
    dt = time.time() - t0; o.alive(); time.sleep(1.2); n = len([x for x in p.log if x.m.has('r')]); most = lim * (1 + dt) * 1.05
    check(n >= lim * 0.15, 'only %d answers' % n); check(n <= most, '%d answers to %d pings in %.2f s, at most %d expected' % (n, len(raws), dt, most)); time.sleep(0.3); p.alive(); return '%d of %d in %.2f s' % (n, len(raws), dt)

# ------------------------------------------------------------------ real peers

class PyNode:
    """a python3-opendht node in a process of its own (this file with --peer), driven by lines of JSON"""
    def __init__(self, b, net=0, boot=True):
        self.p = subprocess.Popen(['/usr/bin/python3', '-u', os.path.abspath(__file__), '--peer', str(net)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True); b.undo.append(self.close)
        self.q, self.events, self.err = queue.Queue(), [], ''
        threading.Thread(target=self._rd, daemon=True).start(); threading.Thread(target=self._rde, daemon=True).start()
        self.info = self.take(20); self.id = bytes.fromhex(self.info['id'])
        if boot: self.call({'op': 'boot', 'host': b.ctx.target[0], 'port': b.ctx.target[1]})
    def _rd(self):
        for l in self.p.stdout:
            try: o = json.loads(l)
            except ValueError: continue
            if 'ev' in o: self.events.append(o)
            else: self.q.put(o)
        self.q.put(None)
    def _rde(self):
        for l in self.p.stderr: self.err = (self.err + l)[-300:]
    def take(self, timeout):
        try: r = self.q.get(timeout=timeout)
        except queue.Empty: raise Fail('the python node did not finish in %d s' % timeout)
        if r is None: raise Fail('the python node died: ' + self.err)
        return r
    def call(self, o, timeout=25): self.p.stdin.write(json.dumps(o) + '\n'); self.p.stdin.flush(); return self.take(timeout)
    def get(self, h, signed=False): return self.call({'op': 'get', 'key': h.hex(), 'signed': signed})['values']
    def put(self, h, data, vid=0): return self.call({'op': 'put', 'key': h.hex(), 'data': data.hex(), 'id': vid})['ok']
    def listen(self, h): self.call({'op': 'listen', 'key': h.hex()})
    def event(self, f, timeout):
        end = time.time() + timeout
        while time.time() < end:
            r = [e for e in list(self.events) if f(e)]
            if r: return r[0]
            time.sleep(0.05)
    def close(self):
        try: self.p.stdin.close(); self.p.wait(4)
        except Exception: self.p.kill(); self.p.wait()

def peer_main(net):
    import opendht as o
    ident = o.Identity.generate('conformance peer', bits=2048); c = o.DhtConfig(); c.setIdentity(ident); c.setNetwork(net); r = o.DhtRunner(); r.run(port=0, ipv4='127.0.0.1', config=c)
    lk = threading.Lock(); keep = []; text = lambda x: x.decode() if isinstance(x, bytes) else str(x)
    def out(x):
        with lk: sys.stdout.write(json.dumps(x) + '\n'); sys.stdout.flush()
    def vj(v, signed=False):      # asking an unsigned value for its owner kills the process (binding of 2.4.12)
        return {'id': v.id, 'data': v.data.hex(), 'to': text(v.recipient.toString()), 'utype': v.user_type, 'owner': text(v.owner.getId().toString()) if signed else None}
    out({'id': text(r.getId().toString())})
    for line in sys.stdin:
        q = json.loads(line); op = q['op']; key = o.InfoHash(q['key'].encode()) if 'key' in q else None; ev = threading.Event(); res = []
        if op == 'boot': r.bootstrap(q['host'], str(q['port'])); out({})
        elif op == 'get': r.get(key, lambda v: res.append(vj(v, q['signed'])) or True, lambda ok, n: ev.set()); ev.wait(20); out({'values': res})
        elif op == 'put': v = o.Value(bytes.fromhex(q['data'])); v.id = q['id']; r.put(key, v, lambda ok, n: (res.append(bool(ok)), ev.set())); ev.wait(20); out({'ok': res[0] if res else None})
        elif op == 'listen': keep.append(r.listen(key, lambda v, e: out({'ev': 1, 'expired': bool(e), **vj(v)}) or True)); out({})
    sys.stdout.flush(); os._exit(0)

class DhtNode:
    """the dhtnode program with its console"""
    def __init__(self, b, *args, port=0, who=None):
        exe = b.ctx.opts.dhtnode; port = port or free_port(); a = [exe, '-p', str(port)] + list(args)
        if who:
            d = b.ctx.shared['dir']; keys = vectors('keys.json')['keys'][who]; pem = vectors('certificates.json')['hand_made'][[k for k in vectors('certificates.json')['hand_made'] if k.startswith(who)][0]]['pem_chain']
            for n, t in ((who + '.pem', keys['private_pkcs8_pem']), (who + '.crt', pem)):
                with open(os.path.join(d, n), 'w') as f: f.write(t)
            a += ['--privkey', os.path.join(d, who + '.pem'), '--certificate', os.path.join(d, who + '.crt')]
        self.p = subprocess.Popen(a, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, bufsize=0); self.port = port; self.out = ''; b.undo.append(self.close)
        threading.Thread(target=self._rd, daemon=True).start()
    def _rd(self):
        while True:
            x = self.p.stdout.read(4096)
            if not x: return
            self.out += x.decode('utf-8', 'replace')
    def cmd(self, line, until=None, timeout=10):
        m = len(self.out); self.p.stdin.write((line + '\n').encode()); end = time.time() + timeout
        while time.time() < end:
            time.sleep(0.1)
            if until and re.search(until, self.out[m:]): break
        return self.out[m:]
    def close(self):
        self.p.kill(); self.p.wait()

def free_port():
    s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); s.bind(('', 0)); p = s.getsockname()[1]; s.close(); return p
def at(b): return '%s:%d' % b.ctx.target

def network(b):
    """nodes shared by the peer cases, started once: two python nodes and two dhtnodes with identities, all knowing the target only"""
    sh = b.ctx.shared
    with sh['lock']:
        if 'net' not in sh:
            keep = Box(b.ctx); sh['keep'] = keep; check(shutil.which(b.ctx.opts.dhtnode), 'dhtnode is not installed')
            n = {'alice': DhtNode(keep, '-b', at(b), who='alice'), 'bob': DhtNode(keep, '-b', at(b), who='bob')}
            n['py1'] = PyNode(keep); n['py2'] = PyNode(keep); time.sleep(7); sh['net'] = n
    return sh['net']
def stored_at_target(b, h, w=()):
    p = b.peer(); return p.get(h, query((), w))[1]
def wait_stored(b, *keys, timeout=12, w=()):
    end = time.time() + timeout
    while time.time() < end:
        for h in keys:
            v = stored_at_target(b, h, w)
            if v: return v
        time.sleep(0.4)
    raise Fail('nothing is stored at the target after %d s' % timeout)

@case('peers', 'peer-put-stored-at-target')
def _(b):
    n = network(b); h = b.key(); same(n['py1'].put(h, b'from a real node', 71), True, 'result of the put'); same([data_of(v) for v in stored_at_target(b, h)], [b'from a real node'], 'stored at the target')
@case('peers', 'peer-gets-what-only-the-target-has')
def _(b):
    n = network(b); h = b.key(); p = b.peer(); p.put(h, [val(5, b'raw'), val(6, b'raw2', utype='u')]); big = os.urandom(40000); p.put(h, [val(7, big)]); got = {v['id']: bytes.fromhex(v['data']) for v in n['py2'].get(h)}; same(got, {5: b'raw', 6: b'raw2', 7: big}, 'values read by a real node')
@case('peers', 'peer-to-peer-put-get')
def _(b): n = network(b); h = b.key(); same(n['py1'].put(h, b'across', 72), True, 'put'); same([v['data'] for v in n['py2'].get(h)], [b'across'.hex()], 'got by the other')
@case('peers', 'peer-put-50-kB')
def _(b): n = network(b); h = b.key(); d = os.urandom(50000); same(n['py1'].put(h, d, 73), True, 'put'); same(data_of(one(stored_at_target(b, h))), d, 'stored at the target'); same(one(n['py2'].get(h))['data'], d.hex(), 'got by the other')
@case('peers', 'peer-listens-at-target')
def _(b):
    "a real node listens; a put known to the target only, a big one, and an expiry reach it"
    n = network(b); h = b.key(); p = b.peer(); n['py2'].listen(h); time.sleep(1.5); p.put(h, [val(1, b'news')]); big = os.urandom(5000); p.put(h, [val(2, big)]); p.put(h, [val(3, b'short')], c=int(time.time()) - 597)
    for d in (b'news', big, b'short'): check(n['py2'].event(lambda e: e['data'] == d.hex() and not e['expired'], 6), 'the listener never got %s' % short(d))
    check(n['py2'].event(lambda e: e['data'] == b'short'.hex() and e['expired'], 9), 'the listener was not told of the expiry')
@case('peers', 'peer-listen-peer-put')
def _(b): n = network(b); h = b.key(); n['py1'].listen(h); time.sleep(1.5); same(n['py2'].put(h, b'hear me'), True, 'put'); check(n['py1'].event(lambda e: e['data'] == b'hear me'.hex(), 6), 'nothing heard')
@case('peers', 'peer-certificates-published')
def _(b):
    "every identity put its certificate at its key id, at the target"
    n = network(b); keys = vectors('keys.json')['keys']; both = lambda who: (bytes.fromhex(keys[who]['key_id']), bytes.fromhex(keys[who]['sha1_of_long_id']))
    for ks in ((n['py1'].id,), (n['py2'].id,), both('alice'), both('bob')): v = wait_stored(b, *ks, w=((2, 8),)); check(b'-----BEGIN CERTIFICATE' in data_of(v[0]) and v[0].get('id') == 1, 'not a certificate value')      # the newest releases use the second key only
@case('peers', 'peer-put-signed')
def _(b):
    n = network(b); h = b.key(); n['alice'].cmd('s %s signed-by-alice' % h.hex(), 'success|ok|done', 3); wait_stored(b, h); v = n['py2'].get(h, signed=True); same([(x['data'], x['owner']) for x in v], [(b'signed-by-alice'.hex(), vectors('keys.json')['keys']['alice']['key_id'])], 'seen by a real node')
@case('peers', 'peer-put-encrypted')
def _(b):
    "certificate looked up through the target, cypher text stored there, read by the recipient only; both directions between identities"
    n = network(b); bob = vectors('keys.json')['keys']['bob']; k1, k2 = bytes.fromhex(bob['key_id']), bytes.fromhex(bob['sha1_of_long_id']); wait_stored(b, k1, k2, w=((2, 8),))
    new = not stored_at_target(b, k1, ((2, 8),))            # a dhtnode of 3.7.2 or later: knows K2 and long ids only, cannot find a 2.4.12 node
    if not new:
        h = b.key(); wait_stored(b, n['py1'].id, w=((2, 8),)); n['alice'].cmd('e %s %s for-py1' % (h.hex(), n['py1'].id.hex()), None, 4); v = wait_stored(b, h); check(isinstance(v[0].get('dat'), Bin), 'stored in clear')
        same([(x['data'], x['to']) for x in n['py1'].get(h, signed=True)], [(b'for-py1'.hex(), n['py1'].id.hex())], 'read by the recipient'); same(n['py2'].get(h), [], 'read by somebody else')
    h = b.key(); n['alice'].cmd('e %s %s for-bob' % (h.hex(), bob['long_id' if new else 'key_id']), None, 4); v = wait_stored(b, h); check(isinstance(v[0].get('dat'), Bin), 'stored in clear')
    check(re.search('for-bob|' + b'for-bob'.hex(), n['bob'].cmd('g ' + h.hex(), 'for-bob|' + b'for-bob'.hex(), 6)), 'bob could not read it')
    return 'recipients found by %s' % ('long id' if new else 'short id')
@case('peers', 'peer-reads-our-encrypted-vectors')
def _(b):
    "cypher texts for bob, put at the target by hand: only the good one is delivered"
    n = network(b); h = b.key(); p = b.peer(); ok = []
    for c in vectors('values_encrypted.json')['made_by_hand_read_by_reference']['cases']: p.put(h, [Pairs([('id', c['id']), ('dat', Bin(bytes.fromhex(c['cipher'])))])])
    out = n['bob'].cmd('g ' + h.hex(), 'by hand', 6); time.sleep(0.5); out = n['bob'].out[-len(out) - 400:]; check('by hand' in out or b'by hand'.hex() in out, 'the good one is not delivered: ' + short(out)); check('wrong recipient' not in out and 'bad signature' not in out, 'a bad one is delivered')
@case('peers', 'peer-query-select-where')
def _(b):
    "the console query of dhtnode, answered by the target"
    n = network(b); h = b.key(); b.peer().put(h, [val(1234567, b'q', utype='abc'), val(7654321, b'r')]); out = n['bob'].cmd('q %s SELECT id,seq WHERE user_type=abc' % h.hex(), '1234567|12d687', 6); check(re.search('1234567|12d687', out), 'no field values: ' + short(out)); check(not re.search('7654321|74cbb1', out), 'the filter was ignored')
@case('peers', 'peer-value-survives-its-publisher')
def _(b):
    n = network(b); q = PyNode(b); time.sleep(3); h = b.key(); same(q.put(h, b'legacy', 74), True, 'put'); q.close(); same([v['data'] for v in n['py2'].get(h)], [b'legacy'.hex()], 'got after the publisher left')
@case('peers', 'peer-of-another-network')
def _(b): b.peer().alive(); q = PyNode(b, net=7); time.sleep(2); check(not q.put(b.key(), b'x'), 'a put on network 7 succeeded'); b.peer().alive()
@case('peers', 'ring-of-8', alone=True)
def _(b):
    "8 dhtnodes which know the target only: they find each other through it; put at one, get at another, listen at a third"
    allof = [DhtNode(b, '-b', at(b)) for _ in range(8)]; console, nodes = allof[:2], allof[2:]; mine = [x.port for x in allof]; end = time.time() + 30; sizes = [0]; time.sleep(7)
    while time.time() < end and min(sizes) < 4:
        sizes = []
        for x in allof: sizes.append(len({p for p in re.findall(r'127\.0\.0\.1:(\d+)', x.cmd('lr', 'IPv6', 4)) if int(p) in mine}))
    check(min(sizes) >= 2, 'nodes of the ring known to each after 30 s: %s' % sizes); h = b.key()
    console[0].cmd('l %s' % h.hex(), None, 2); nodes[0].cmd('p %s ring-value' % h.hex(), None, 2); out = console[1].cmd('g %s' % h.hex(), 'ring-value|' + b'ring-value'.hex(), 6); check(re.search('ring-value|' + b'ring-value'.hex(), out), 'not got: ' + short(out))
    check(re.search('ring-value|' + b'ring-value'.hex(), console[0].out), 'the listener heard nothing'); p = b.peer(); end = time.time() + 12; got = 0
    while got < 6 and time.time() < end: got = max(got, len(p.reply('find', [('target', Bin(h))])['n4'] or b'') // 26); time.sleep(1)
    check(got >= 3, 'the target gives out %d nodes only' % got); return 'each knows %s others, n4 holds %d' % (sizes, got)


# ------------------------------------------------------------------ main

def main():
    ap = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ap.add_argument('--target'); ap.add_argument('--json'); ap.add_argument('--only', default=''); ap.add_argument('--skip', default=''); ap.add_argument('--group', choices=('raw', 'peers'))
    ap.add_argument('--reference', choices=('2.4.12',), help='the target is this release: its known deviations are expected'); ap.add_argument('--rate-limit', type=int, default=1024, help='requests per second and address of the target, 0 = do not check')
    ap.add_argument('--dhtnode', default=os.environ.get('DHTNODE', 'dhtnode')); ap.add_argument('--list', action='store_true'); ap.add_argument('--limit-s', type=int, default=140, help='start no further case after this many seconds')
    o = ap.parse_args()
    if o.list:
        for c in CASES: print('%-6s %-40s %s' % (c['group'], c['name'], c['doc'].split('\n')[0]))
        return 0
    if not o.target: ap.error('--target is missing')
    host, _, port = o.target.rpartition(':'); ctx = Ctx((socket.gethostbyname(host), int(port)), o)
    only, skip = [set(filter(None, x.split(','))) for x in (o.only, o.skip)]; names = {c['name'] for c in CASES}
    for x in (only | skip) - names: ap.error('no case named ' + x)
    todo = [c for c in CASES if (not only or c['name'] in only) and c['name'] not in skip and (not o.group or c['group'] == o.group)]
    ctx.shared.update(lock=threading.Lock(), dir=tempfile.mkdtemp(prefix='dht-conf-')); results = []; t0 = time.time()
    def show(c, r):
        results.append({'name': c['name'], 'group': c['group'], **r}); print('%-4s %s - %s' % ('ok' if r['ok'] else 'FAIL', c['name'], r['detail'] or c['doc'].split('\n')[0] or 'fine'), flush=True)
    def bounded(c):
        if time.time() - t0 > o.limit_s: return {'ok': False, 'detail': 'not run: the time limit of %d s is reached' % o.limit_s, 'expected': False, 's': 0}
        return run_case(c, ctx)
    try:
        raw = [c for c in todo if c['group'] == 'raw' and not c['alone']]; raw.sort(key=lambda c: c['name'] != 'nodes-learnt-and-checked')   # the slow one first
        with ThreadPoolExecutor(SLOTS) as ex:
            fs = [(c, ex.submit(bounded, c)) for c in raw]; fs.sort(key=lambda x: CASES.index(x[0]))
            for c, f in fs: show(c, f.result())
        for c in [c for c in todo if c['group'] == 'raw' and c['alone']]: show(c, bounded(c))
        for c in [c for c in todo if c['group'] == 'peers']: show(c, bounded(c))
    finally:
        if 'keep' in ctx.shared: ctx.shared['keep'].close()
        shutil.rmtree(ctx.shared['dir'], ignore_errors=True)
    bad = [r for r in results if not r['ok']]; exp = [r for r in results if r['expected']]
    print('%d passed, %d failed%s (%.0f s)' % (len(results) - len(bad), len(bad), ', %d of the passed are known deviations of the reference' % len(exp) if exp else '', time.time() - t0))
    if o.json:
        with open(o.json, 'w') as f: json.dump({'target': o.target, 'passed': len(results) - len(bad), 'failed': len(bad), 'seconds': round(time.time() - t0, 1), 'cases': results}, f, indent=1); f.write('\n')
    return 1 if bad else 0

if __name__ == '__main__':
    if len(sys.argv) == 3 and sys.argv[1] == '--peer': peer_main(int(sys.argv[2]))
    else: sys.exit(main())
