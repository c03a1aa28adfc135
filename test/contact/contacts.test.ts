import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { AgentError } from '../../agent/base/errors.ts';
import { Contacts, decide } from '../../agent/contact/contacts.ts';
import { MAX_CONTACTS } from '../../agent/contact/limits.ts';
import { agentErrorOf } from '../agent-error.ts';

const OWN = 'f'.repeat(40);
const ALICE = '0123456789abcdef0123456789abcdef01234567';

const idOf = (n: number) => n.toString(16).padStart(40, '0');

describe('contacts', () => {
  test('a new contact may ring', () => {
    const contact = new Contacts(OWN).add({ name: 'alice', id: ALICE }, 'added');
    expect([...contact.rights]).toEqual(['ring']);
  });

  test('is found by name and by account, whatever the case of the hex digits', () => {
    const contacts = new Contacts(OWN);
    const alice = contacts.add({ name: 'alice', id: ALICE.toUpperCase() }, 'added');
    expect(alice.accountId).toBe(ALICE);
    expect(contacts.byName('alice')).toBe(alice);
    expect(contacts.byAccount(ALICE.toUpperCase())).toBe(alice);
    expect(contacts.byAccount(OWN)).toBeUndefined();
  });

  test('lists by name', () => {
    const contacts = new Contacts(OWN);
    for (const [i, name] of ['zoe', 'alice', 'mia'].entries())
      contacts.add({ name, id: idOf(i) }, 'added');
    expect(contacts.list().map(({ name }) => name)).toEqual(['alice', 'mia', 'zoe']);
  });

  test('a removed contact is unknown', () => {
    const contacts = new Contacts(OWN);
    contacts.add({ name: 'alice', id: ALICE }, 'added');
    contacts.remove('alice');
    expect(contacts.byName('alice')).toBeUndefined();
    expect(contacts.byAccount(ALICE)).toBeUndefined();
    contacts.add({ name: 'bob', id: ALICE }, 'added');
  });

  test('refuses with a code and, where one helps, a hint', () => {
    const contacts = new Contacts(OWN);
    contacts.add({ name: 'alice', id: ALICE }, 'config');
    const add = (name: string, id: string, can?: string[]) =>
      agentErrorOf(() =>
        contacts.add(can === undefined ? { name, id } : { name, id, can }, 'added'),
      );

    expect(add('al/ice', idOf(1))).toMatchObject({ code: 'bad-name' });
    expect(add('unknown', idOf(1))).toMatchObject({ code: 'bad-name' });
    expect(add('', idOf(1))).toMatchObject({ code: 'bad-name' });
    expect(add('a'.repeat(33), idOf(1))).toMatchObject({ code: 'bad-name' });
    expect(add('bob', '123')).toMatchObject({ code: 'bad-id' });
    expect(add('bob', `${idOf(1)}\n`)).toMatchObject({ code: 'bad-id' });
    expect(add('me', OWN.toUpperCase())).toMatchObject({ code: 'own-id' });
    expect(add('alice', idOf(1))).toMatchObject({ code: 'duplicate-name' });
    expect(add('alicia', ALICE)).toMatchObject({ code: 'duplicate-id' });
    expect(add('bob', idOf(1), ['rign'])).toMatchObject({
      code: 'unknown-right',
      hint: 'did you mean "ring"?',
    });
    expect(add('bob', idOf(1), ['everything']).hint).toBe('there are: ring, auto_answer');
    expect(agentErrorOf(() => contacts.remove('alcie'))).toMatchObject({
      code: 'no-such-contact',
      hint: 'did you mean "alice"?',
    });
    expect(agentErrorOf(() => contacts.remove('alice'))).toMatchObject({
      code: 'contact-in-config',
    });
    expect(contacts.list()).toHaveLength(1);
  });

  test('holds no more than its limit', () => {
    const contacts = new Contacts(OWN);
    for (let i = 0; i < MAX_CONTACTS; i++) contacts.add({ name: `c${i}`, id: idOf(i) }, 'added');
    const error = agentErrorOf(() =>
      contacts.add({ name: 'more', id: idOf(MAX_CONTACTS) }, 'added'),
    );
    expect(error.code).toBe('too-many-contacts');
    expect(contacts.stats()).toEqual({ contacts: MAX_CONTACTS, limit: MAX_CONTACTS });
  });

  test('both indexes always agree', () => {
    const step = fc.record({
      add: fc.boolean(),
      name: fc.constantFrom('a', 'b', 'c', 'd'),
      id: fc.integer({ min: 0, max: 4 }).map(idOf),
    });
    fc.assert(
      fc.property(fc.array(step), (steps) => {
        const contacts = new Contacts(OWN);
        for (const { add, name, id } of steps) {
          try {
            if (add) contacts.add({ name, id }, 'added');
            else contacts.remove(name);
          } catch (error) {
            expect(error).toBeInstanceOf(AgentError);
          }
        }
        for (const contact of contacts.list()) {
          expect(contacts.byName(contact.name)).toBe(contact);
          expect(contacts.byAccount(contact.accountId)).toBe(contact);
        }
        expect(contacts.list()).toHaveLength(contacts.stats().contacts);
      }),
    );
  });
});

describe('decide', () => {
  test.each([
    { can: ['ring', 'auto_answer'], decision: 'answer' },
    { can: ['auto_answer'], decision: 'answer' },
    { can: ['ring'], decision: 'ring' },
    { can: [], decision: 'refuse' },
  ])('a caller who can $can: $decision', ({ can, decision }) => {
    const contact = new Contacts(OWN).add({ name: 'alice', id: ALICE, can }, 'config');
    expect(decide(contact, 'ring')).toBe(decision);
  });

  test('refuses whoever is not a contact', () => {
    expect(decide(undefined, 'ring')).toBe('refuse');
  });
});
