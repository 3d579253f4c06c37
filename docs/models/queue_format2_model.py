#!/usr/bin/env python3
"""Exhaustive exploration of the work queue, format 2 (../queue.md), by breadth-first search.

Two consumers, one producer, three or four items; every interleaving of looks, reads, transactions, lost requests, lost
replies, crashes, session expiries, take-overs (a deadline may pass at any moment) and nacks, up to a budget of faults and
nacks. A transaction is a list of operations that an interpreter applies to nodes as ZooKeeper does: all or nothing. A view
is the list of names at the moment of a look; it grows stale by itself. Checked in each state: each item is in one place;
at most one live claim and one effective ack; attempts; order of a strict queue; and from each state the queue can be
drained. Not in it: lanes, delays, priorities, keys, results, cancel; groups are in queue_format2_groups.py.

queue_format2_model.py [--all]    the design       queue_format2_model.py --bugs    what is left out must be found
"""
import sys, time
from collections import deque

MAX = 2                                   # attempts of an item


class Violation(Exception):
    pass


def need(condition, what):
    if not condition:
        raise Violation(what)


def apply(nodes, ops):
    """The nodes after the transaction and -1, or None and the index of the operation that is refused."""
    nodes = dict(nodes)
    for index, (kind, path, *rest) in enumerate(ops):
        there = nodes.get(path)
        if kind == 'C':
            if there is not None:
                return None, index
            nodes[path] = (rest[0], 0, rest[1])
        elif there is None:
            return None, index
        elif kind in 'DSK' and rest[-1] is not None and there[1] != rest[-1]:
            return None, index
        elif kind == 'D':
            if path[0] == 'G' and any(other[0] == 'i' for other in nodes):    # NotEmpty
                return None, index
            del nodes[path]
        elif kind == 'S':
            version = there[1] + 1
            nodes[path] = (rest[0], version % 2 if path[0] == 'led' else version, there[2])
    return nodes, -1


def C(path, data=None, owner=None): return ('C', path, data, owner)
def D(path, version=None): return ('D', path, version)
def S(path, data, version): return ('S', path, data, version)
def K(path, version=None): return ('K', path, version)
def freeze(nodes): return frozenset(nodes.items())
def put(items, index, value): return items[:index] + (value,) + items[index + 1:]


# A consumer: session number, view, read, held, hand, pending, fresh, ok.
IDLE = (None, None, None, None, None, False, False)
SESSION, VIEW, READ, HELD, HAND, PEND, CLAIMED, OK = range(8)


class Model:
    """Segments of items. Names: s segment, f fresh rest, o opened range, c claim, n item taken out, d dead letter."""

    def __init__(self, segments, strict, takes, faults, nacks, fused=False, timeouts=True, bug=None):
        self.segments, self.strict, self.takes, self.bug = segments, strict, takes, bug
        self.faults, self.nacks, self.fused, self.timeouts = faults, nacks, fused, timeouts
        self.items = [(g, i) for g, n in enumerate(segments) for i in range(n)]
        self.at = {item: index for index, item in enumerate(self.items)}

    def start(self):
        nodes = {('led', (k, 0)): (None, 0, (k, 0)) for k in (0, 1, 'p')}
        consumers = tuple(((k, 0),) + IDLE for k in (0, 1))
        ghosts = ((0,) * len(self.items), (0,) * len(self.items))          # handed out, acknowledged
        return freeze(nodes), consumers, (0, None), (), ghosts, self.faults, self.nacks

    # What stands in the ensemble.
    def names(self, nodes):
        return frozenset(path for path in nodes if path[0] in 'sfocn')

    def candidates(self, view):
        """Free ranges in order: (segment, index, name of its state)."""
        free = []
        claimed = {(path[1], path[2], path[3]) for path in view if path[0] == 'c'}
        for path in view:
            if path[0] == 's' and self.segments[path[1]] == 1 and ('o', path[1], 0, 1) not in view:
                free.append((path[1], 0, path))
            elif path[0] == 'f':
                free.append((path[1], path[2], path))
            elif path[0] == 'o' and path[1:4] not in claimed:
                free.append((path[1], path[2], path))
        return sorted(free)

    def cover(self, nodes):
        """Of each item, how many places say that it is to be done, and how many claims it has."""
        places, claims = [0] * len(self.items), [0] * len(self.items)
        for path, (data, _, _) in nodes.items():
            if path[0] == 's' and self.segments[path[1]] == 1 and ('o', path[1], 0, 1) not in nodes:
                places[self.at[path[1], 0]] += 1
            elif path[0] == 'f':
                for i in range(path[2], self.segments[path[1]]):
                    places[self.at[path[1], i]] += 1
            elif path[0] == 'o':
                need(('n', path[1], path[2]) in nodes or ('s', path[1]) in nodes, f'{path} without its payload')
                lives = sum(other[0] == 'c' and other[1:4] == path[1:4] for other in nodes)
                for i, (_, _, done) in zip(range(path[2], path[3]), data[1]):
                    if not done:
                        places[self.at[path[1], i]] += 1
                        claims[self.at[path[1], i]] += lives
            elif path[0] == 'c':
                there = nodes.get(('o',) + path[1:4])
                need(there and there[0][0] == path[4], f'{path} without its range')
        return places, claims

    def check(self, state):
        nodes, consumers, producer, _, (handed, acked), faults, _ = state
        nodes = dict(nodes)
        places, claims = self.cover(nodes)
        pushed = {g for g in range(producer[0])}
        for index, item in enumerate(self.items):
            dead = ('d',) + item in nodes
            need(acked[index] <= 1, f'{item} acknowledged twice')
            need(claims[index] <= 1, f'two live claims on {item}')
            if item[0] in pushed:
                need(places[index] + acked[index] + dead == 1,
                     f'{item}: {places[index]} places, {acked[index]} acks, dead {dead}')
        for path, (data, _, _) in nodes.items():
            if path[0] == 'o':
                for i, (attempts, is_open, done) in zip(range(path[2], path[3]), data[1]):
                    if not done:
                        count = handed[self.at[path[1], i]]
                        need(count <= attempts <= count + (self.faults - faults) + is_open, f'attempts of {path[1], i}')
                        need(attempts <= MAX, 'too many attempts')

    def drained(self, state):
        return state[2][0] == len(self.segments) and not self.names(dict(state[0]))

    # Transactions: (kind, operations, what the consumer holds then, item acknowledged)
    def note(self, records, index):
        attempts, _, done = records[index]
        return put(records, index, (attempts + 1, 1, done))

    def claim(self, me, take, candidate, read, take_over=None):
        """One claim of the first item, or of more, of a candidate; None if it has to be read first."""
        g, a, path = candidate
        fresh = ((0, 0, 0),)
        if path[0] == 's':
            o, c = ('o', g, 0, 1), ('c', g, 0, 1, 1)
            data = (1, self.note(fresh, 0))
            ops = [C(o, data), C(c, None, me)] if self.bug == 'no-check-segment' else [K(path), C(o, data), C(c, None, me)]
            return 'claim', ops, (g, 0, 1, 1, 0, data), None
        if path[0] == 'f':
            n = self.segments[g]
            x = min(a + take, n)
            o, c, data = ('o', g, a, x), ('c', g, a, x, 1), (1, self.note(fresh * (x - a), 0))
            ops = [D(path)] + ([C(('f', g, x))] if x < n else []) + [C(o, data), C(c, None, me)]
            return 'claim', ops, (g, a, x, 1, 0, data), None
        if read is None or read[0] != path:
            return None
        _, (e, records), version = read
        b = path[3]
        ops = [D(take_over)] if take_over else []
        old = ('c', g, a, b, e)
        if e and not take_over and self.bug != 'no-probe':
            ops += [C(old), D(old)]                   # refused while the last claim stands
        dead = [i for i, (attempts, _, done) in enumerate(records) if not done and attempts >= MAX]
        ops += [C(('d', g, a + i)) for i in dead]
        records = tuple((at, 0, 1 if i in dead else done) for i, (at, _, done) in enumerate(records))
        undone = [i for i, record in enumerate(records) if not record[2]]
        if not undone:
            return 'bury', ops + [D(path, version)] + self.payload(g, a, b, self.look), None, None
        first = undone[0]
        if take >= len(undone) or len(undone) == 1:
            data = (e + 1, self.note(records, first))
            return 'claim', ops + [S(path, data, version), C(('c', g, a, b, e + 1), None, me)], \
                (g, a, b, e + 1, version + 1, data), None
        x = a + first + 1
        data = (1, self.note(records[first:first + 1], 0))
        ops += [D(path, version), C(('o', g, x - 1, x), data), C(('o', g, x, b), (0, records[first + 1:])),
                C(('c', g, x - 1, x, 1), None, me)]
        return 'claim', ops, (g, x - 1, x, 1, 0, data), None

    def ranges(self, g, view):
        """What of the segment is not done. An item that was taken out has a guid of its own; here n marks it."""
        return [path for path in view if path[0] in 'fo' and path[1] == g and not (
            path[0] == 'o' and ('n', g, path[2]) in view and (path[3] == path[2] + 1 or self.bug == 'no-guid-of-its-own'))]

    def payload(self, g, a, b, view):
        """Deletes what holds the payload, if the range is all of it: then, by its name alone, there is no other range."""
        if ('n', g, a) in view and b == a + 1:
            return [D(('n', g, a))]
        whole = b == self.segments[g] and (a == 0 or self.bug == 'last-range-deletes')
        return [D(('s', g))] if whole else []

    def settle(self, consumer, nodes, nack):
        me, view, _, (g, a, b, e, version, (_, records)), hand = consumer[:5]
        o, c = ('o', g, a, b), ('c', g, a, b, e)
        index = hand - a
        attempts = records[index][0]
        ops = [] if self.bug == 'no-ledger' else [S(('led', me), None, nodes[('led', me)][1])]
        acked = None if nack else (g, hand)
        rest = [i for i, record in enumerate(records) if not record[2] and i != index]
        if nack and attempts < MAX:
            if not rest:
                data = (e, put(records, index, (attempts, 0, 0)))
                return 'settle', ops + [D(c), S(o, data, version)], None, None
            ops += [C(('n', g, hand)), C(('o', g, hand, hand + 1), (0, ((attempts, 0, 0),)))]
        elif nack:
            ops += [C(('d', g, hand))]
        if not rest:
            return 'settle', ops + [D(c), D(o, version)] + self.payload(g, a, b, view), None, acked
        data = (e, self.note(put(records, index, (attempts, 0, 1)), rest[0]))
        return 'settle', ops + [K(c), S(o, data, version)], (g, a, b, e, version + 1, data), acked

    def release(self, consumer, nodes):
        me, (g, a, b, e, version, (_, records)) = consumer[SESSION], consumer[HELD]
        back = (e, tuple((at - is_open, 0, done) for at, is_open, done in records))
        return 'release', [S(('led', me), None, nodes[('led', me)][1]), D(('c', g, a, b, e)), S(('o', g, a, b), back, version)], \
            None, None

    def free_ahead(self, nodes, item):
        places, claims = self.cover(nodes)
        return any(places[i] and not claims[i] for i in range(self.at[item]))

    @staticmethod
    def first_open(held):
        return next(held[1] + i for i, record in enumerate(held[5][1]) if record[1])

    def finished(self, consumer, kind, held):
        """The consumer after its transaction was committed."""
        me, view = consumer[:2]
        return (me, view, None, held, None, None, held is not None, False)

    def commit(self, state, k, draft, label):
        """All that may become of a transaction that is sent now."""
        nodes, consumers, producer, zombies, ghosts, faults, nacks = state
        kind, ops, held, acked, *own = draft
        me = consumers[k]
        after, refused = apply(dict(nodes), ops)
        unsure = put(me, PEND, (kind, tuple(ops), held, acked, *own))
        if after is not None:
            ghosts2 = ghosts if acked is None else \
                (ghosts[0], put(ghosts[1], self.at[acked], ghosts[1][self.at[acked]] + 1))
            after = freeze(after)
            yield label, (after, put(consumers, k, self.finished(me, kind, held)), producer, zombies, ghosts2, faults, nacks)
            if faults:
                yield label + ', reply lost', (after, put(consumers, k, unsure), producer, zombies, ghosts2, faults - 1, nacks)
        elif own and refused >= own[0]:                # the ack is sent again without the claim
            yield label + ' refused for its claim', (nodes, put(consumers, k, put(put(me, VIEW, self.names(dict(nodes))), PEND, None)), *state[2:])
        else:
            yield label + ' refused', (nodes, put(consumers, k, (me[0],) + IDLE), *state[2:])
        if faults:
            yield label + ', request lost', (nodes, put(consumers, k, unsure), producer, zombies, ghosts, faults - 1, nacks)

    def resolve(self, state, k):
        """What became of a transaction whose reply was lost."""
        nodes, consumers, *rest = state
        me = consumers[k]
        kind, ops, held, acked, *_ = me[PEND]
        there = dict(nodes)
        if kind == 'claim':                            # its own name tells
            g, a, b, e = held[:4]
            node = there.get(('c', g, a, b, e))
            mine = node is not None and node[2] == me[SESSION]
            after = self.finished(me, kind, held) if mine else (me[0],) + IDLE
            yield 'claim found' if mine else 'claim not found', (nodes, put(consumers, k, after), *rest)
        elif kind == 'bury':                           # no caller asks
            yield 'burial forgotten', (nodes, put(consumers, k, (me[0],) + IDLE), *rest)
        elif self.bug == 'no-ledger':                  # the claim is gone: it must have been we
            c = ('c',) + me[HELD][:4]
            if c in there:
                yield from self.commit(state, k, me[PEND], 'sent again')
            else:
                index = self.at[acked] if acked else None
                need(index is None or rest[2][1][index] == 1, f'{acked}: told to be acknowledged and is not')
                yield 'taken for done', (nodes, put(consumers, k, self.finished(me, kind, held)), *rest)
        else:                                          # sent again as it is; its ledger tells
            after, refused = apply(there, ops)
            if refused == 0:
                yield 'ledger tells: done', (nodes, put(consumers, k, self.finished(me, kind, held)), *rest)
            else:
                yield from self.commit(state, k, me[PEND], 'sent again')

    def steps(self, state):
        nodes, consumers, producer, zombies, ghosts, faults, nacks = state
        there = dict(nodes)
        number, pend = producer
        if number < len(self.segments) and pend is None:
            led = ('led', ('p', 0))
            ops = [S(led, None, there[led][1]), C(('s', number))] + \
                ([C(('f', number, 0))] if self.segments[number] > 1 else [])
            ops = tuple(ops)
            after = freeze(apply(there, ops)[0])
            yield 'push', (after, consumers, (number + 1, None), zombies, ghosts, faults, nacks)
            if faults:
                yield 'push, reply lost', (after, consumers, (number, ops), zombies, ghosts, faults - 1, nacks)
                yield 'push, request lost', (nodes, consumers, (number, ops), zombies, ghosts, faults - 1, nacks)
        elif pend is not None:
            after, refused = apply(there, pend)
            need(refused <= 0, 'a push refused for something else than its ledger')
            yield 'push sent again', (freeze(after) if after else nodes, consumers, (number + 1, None), *state[3:])
        for session in zombies:
            left = {path: node for path, node in there.items() if node[2] != session}
            yield 'old session expires', (freeze(left), consumers, producer,
                                          tuple(z for z in zombies if z != session), ghosts, faults, nacks)
        names = self.names(there)
        for k, me in enumerate(consumers):
            session, view, read, held, hand, pending, claimed, ok = me
            actor = f'consumer {k}: '
            if faults:
                new = (session[0], session[1] + 1)
                fresh = dict(there)
                fresh[('led', new)] = (None, 0, new)
                others = put(consumers, k, (new,) + IDLE)
                gone = {path: node for path, node in fresh.items() if node[2] != session}
                if held or pending:
                    yield actor + 'session expires', (freeze(gone), others, producer, zombies, ghosts, faults - 1, nacks)
                    yield actor + 'crash', (freeze(fresh), others, producer, zombies + (session,), ghosts, faults - 1, nacks)
            if pending:
                for label, after in self.resolve(state, k):
                    yield actor + label, after
                continue
            if view != names and (not held or self.fused and hand is not None):
                yield actor + 'look', (nodes, put(consumers, k, put(put(me, VIEW, names), READ, None)), *state[2:])
            if held and hand is None and ('c',) + held[:4] not in there and self.bug != 'no-local-deadline':
                # Its deadline has passed by its own clock, before that by the ensemble's: it is not handed out.
                yield actor + 'lets a claim go', (nodes, put(consumers, k, (session,) + IDLE), *state[2:])
            elif held and hand is None:
                item = (held[0], self.first_open(held))
                ahead = [free for free in self.candidates(names) if free[:2] < item]
                if self.strict and claimed and ahead and self.bug != 'no-validation':
                    for label, after in self.commit(state, k, self.release(put(me, VIEW, names), there), 'release: a consumer ahead'):
                        yield actor + label, after
                    continue
                index = self.at[item]
                need(ghosts[0][index] < held[5][1][item[1] - held[1]][0], f'token of {item} does not grow')
                need(not self.strict or not claimed or ok or not self.takes[k] == 1, f'{item} handed out while one ahead was free')
                handed = (put(ghosts[0], index, ghosts[0][index] + 1), ghosts[1])
                after = (session, names, None, held, item[1], None, False, False)
                yield actor + f'hands {item} out', (nodes, put(consumers, k, after), producer, zombies, handed, faults, nacks)
            elif held:
                draft = self.settle(me, there, False)
                for label, after in self.commit(state, k, draft, 'ack'):
                    yield actor + label, after
                if self.fused and draft[2] is None:
                    for free in self.candidates(view)[:1]:
                        more = self.claim(session, 1, free, None)
                        if more:
                            both = ('fused', draft[1] + more[1], more[2], draft[3], len(draft[1]))
                            for label, after in self.commit(state, k, both, 'ack and claim'):
                                yield actor + label, after
                if nacks:
                    fewer = (*state[:6], nacks - 1)
                    for label, after in self.commit(fewer, k, self.settle(me, there, True), 'nack'):
                        yield actor + label, after
            elif view is not None:
                for g, n in enumerate(self.segments):      # what is left of a segment that is done
                    if n > 1 and ('s', g) in view and not self.ranges(g, view):
                        after, _ = apply(there, [D(('s', g))])
                        if after is not None:
                            yield actor + 'sweeps', (freeze(after), *state[1:])
                free = self.candidates(view)
                overdue = [] if not (self.timeouts and faults) else \
                    [(p[1], p[2], ('o',) + p[1:4], p) for p in view if p[0] == 'c']
                for g, a, path, *over in (free[:1] if self.strict else free[:2]) + overdue:
                    spent = (*state[:5], faults - 1, nacks) if over else state
                    self.look = view
                    draft = self.claim(session, self.takes[k], (g, a, path), read, *over)
                    if draft is None:
                        node = there.get(path)
                        known = (nodes, put(consumers, k, put(me, READ, (path, node[0], node[1]) if node else None)), *state[2:])
                        if node is None:
                            known = (nodes, put(consumers, k, put(me, VIEW, None)), *state[2:])
                        yield actor + f'reads {path}', known
                    else:
                        for label, after in self.commit(spent, k, draft, f'claims {draft[2]}' + (' over' if over else '')):
                            yield actor + label, after

    def step(self, state):
        for label, after in self.steps(state):
            if self.strict:                                # whether there was a moment with no free item ahead
                consumers = after[1]
                for k, me in enumerate(consumers):
                    if me[HELD] and me[HAND] is None and me[CLAIMED] and not me[OK] and not me[PEND]:
                        item = (me[HELD][0], self.first_open(me[HELD]))
                        if not self.free_ahead(dict(after[0]), item):
                            consumers = put(consumers, k, put(me, OK, True))
                after = (after[0], consumers, *after[2:])
            yield label, after


def explore(model, limit=4_000_000):
    start = model.start()
    number, states, parents, edges = {start: 0}, [start], [None], []
    good, at = [], 0
    began = time.time()
    while at < len(states):
        state = states[at]
        trace = at
        try:
            model.check(state)
            successors = list(model.step(state))
        except Violation as violation:
            lines = []
            while parents[trace] is not None:
                trace, label = parents[trace]
                lines.append(label)
            return f'VIOLATION after {len(states)} states: {violation}\n    ' + '\n    '.join(reversed(lines))
        if model.drained(state):
            good.append(at)
        for label, after in successors:
            index = number.get(after)
            if index is None:
                index = number[after] = len(states)
                states.append(after)
                parents.append((at, label))
            edges.append((index, at))
        if len(states) > limit:
            return f'more than {limit} states'
        at += 1
    back = [[] for _ in states]
    for to, source in edges:
        back[to].append(source)
    reach, work = bytearray(len(states)), deque(good)
    for index in good:
        reach[index] = 1
    while work:
        for source in back[work.popleft()]:
            if not reach[source]:
                reach[source] = 1
                work.append(source)
    stuck = reach.find(0)
    if stuck >= 0:
        lines, trace = [], stuck
        while parents[trace] is not None:
            trace, label = parents[trace]
            lines.append(label)
        return f'VIOLATION: cannot be drained: {dict(states[stuck][0])}\n    ' + '\n    '.join(reversed(lines))
    return f'{len(states)} states, {len(edges)} steps, {len(good)} drained ends, {time.time() - began:.0f} s'


# Segments, strict, how many items each consumer takes, faults, nacks, fused acks.
CONFIGS = {
    'strict': ((2, 1), True, (1, 1), 1, 0),
    'strict, fused': ((2, 1), True, (1, 1), 1, 0, True),
    'strict, nacks': ((2, 1), True, (1, 1), 0, 1),
    'strict, lease': ((2, 1), True, (1, 2), 1, 0),
    'window': ((2, 1), False, (1, 2), 1, 0),
    'window, nacks': ((2, 1), False, (1, 2), 0, 2),
    'two faults': ((2,), False, (1, 2), 2, 0),
    'fault and nack': ((2,), False, (1, 2), 1, 1),
    'singles, fused': ((1, 1, 1), False, (1, 1), 1, 0, True),
    'four items': ((2, 2), False, (1, 2), 1, 0),          # only with --all
}
BUGS = ('no-probe', 'no-check-segment', 'no-ledger', 'no-validation', 'no-local-deadline', 'last-range-deletes',
        'no-guid-of-its-own')

if __name__ == '__main__':
    if '--bugs' in sys.argv:                       # each must be found
        for bug in BUGS:
            found = next((told for told in (explore(Model(*CONFIGS[name], bug=bug), 300_000) for name in
                          ('two faults', 'fault and nack', 'strict')) if told.startswith('VIOLATION')), 'NOT FOUND')
            print(f'{bug}: {found}', flush=True)
    else:
        for name, config in CONFIGS.items():
            if name != 'four items' or '--all' in sys.argv:
                print(f'{name} {config}:', explore(Model(*config)), flush=True)
