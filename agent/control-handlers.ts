import { FRAME_SAMPLES } from './audio/device.ts';
import { systemTiming } from './audio/pace.ts';
import { StreamDevice } from './audio/stream-device.ts';
import { type Clock, WakeUp } from './base/clock.ts';
import { AgentError } from './base/errors.ts';
import { VERSION } from './base/version.ts';
import type { CallDriver } from './call/call-driver.ts';
import { carryOut } from './commands.ts';
import type { ContactStore } from './contact/contact-store.ts';
import type { Contact, Contacts } from './contact/contacts.ts';
import type { ContactResult, ControlParams, StatusResult } from './control/protocol.ts';
import type { ControlPeer, StationHandlers } from './control/server.ts';
import { toWire } from './control/wire-case.ts';
import type { AgentCommand, AgentEvent, CommandResult } from './events.ts';
import type { MessageDesk } from './message-desk.ts';

/** The parts of a running station that commands act on. */
export interface StationParts {
  readonly accountId: string;
  readonly clock: Clock;
  readonly contacts: Contacts;
  readonly contactStore: Pick<ContactStore, 'save'>;
  readonly calls: Pick<CallDriver, 'place' | 'answer' | 'hangup' | 'snapshots'>;
  readonly messages: Pick<MessageDesk, 'send' | 'list'>;
  readonly status: () => StatusResult;
}

/** What a client wants of the call that it placed, besides the call. */
interface ClientCall {
  readonly client: ControlPeer;
  /** This client is the sound device. */
  readonly stream: StreamDevice | undefined;
  readonly forMs: number | undefined;
  timer: WakeUp | undefined;
}

/** What the control socket can ask for. Until the parts are there, everything but the version is answered "starting". */
export class ControlDesk {
  #parts: StationParts | undefined;
  /** By call id; as many as there are calls. */
  readonly #calls = new Map<string, ClientCall>();

  ready(parts: StationParts): void {
    this.#parts = parts;
  }

  /** The sound device that a client brought for this call. */
  streamOf(callId: string): StreamDevice | undefined {
    return this.#calls.get(callId)?.stream;
  }

  /** Every event of the station passes here: calls of clients are timed from their answer, and forgotten at their end. */
  onEvent(event: AgentEvent): void {
    switch (event.type) {
      case 'call.answered':
        this.#limit(event.call.callId);
        break;
      case 'call.ended':
      case 'call.missed':
      case 'call.rejected':
      case 'call.failed':
        this.#forget(event.call.callId);
        break;
      default: // the rest says nothing about calls that clients placed
    }
  }

  readonly handlers: StationHandlers = {
    version: async () => ({ version: VERSION, node: process.version }),
    id: async () => ({ id: this.#station.accountId }),
    status: async () => this.#station.status(),
    'contact.add': async ({ name, id, can }) => {
      const { contacts, contactStore } = this.#station;
      const contact = contacts.add({ name, id, can }, 'added');
      try {
        await contactStore.save(contacts);
      } catch (error) {
        contacts.remove(name); // what is not kept must not seem to be there
        throw error;
      }
      return contactResult(contact);
    },
    'contact.list': async () => ({ contacts: this.#station.contacts.list().map(contactResult) }),
    'contact.remove': async ({ name }) => {
      const { calls, contacts, contactStore } = this.#station;
      const { accountId } = contacts.remove(name);
      // Not undone when it cannot be saved: taking a right away takes effect at once, in a call as well.
      for (const call of calls.snapshots()) {
        if (call.accountId === accountId)
          await this.#carryOut({ type: 'hangup', callId: call.callId });
      }
      await contactStore.save(contacts);
      return {};
    },
    call: (params, client) => this.#call(params, client),
    answer: ({ call_id }) => this.#carryOut({ type: 'answer', ...withCallId(call_id) }),
    hangup: ({ call_id }) => this.#carryOut({ type: 'hangup', ...withCallId(call_id) }),
    send: ({ to, text }) => this.#carryOut({ type: 'message', to, text }),
    messages: async ({ limit }) => ({
      messages: this.#station.messages.list().slice(-limit).map(toWire),
    }),
  };

  get #station(): StationParts {
    if (this.#parts === undefined) {
      throw new AgentError('starting', 'the station is starting', 'try again in a moment');
    }
    return this.#parts;
  }

  #carryOut(command: AgentCommand): Promise<CommandResult> {
    return carryOut(this.#station, command);
  }

  async #call(params: ControlParams<'call'>, client: ControlPeer): Promise<CommandResult> {
    const result = await this.#carryOut({ type: 'call', to: params.to });
    const callId = result.data?.['call_id'];
    if (typeof callId !== 'string') return result;
    // It may be over already.
    if (!this.#station.calls.snapshots().some((call) => call.callId === callId)) return result;
    const stream = params.audio === 'stream' ? openStream(client) : undefined;
    this.#calls.set(callId, { client, stream, forMs: params.for_ms, timer: undefined });
    if (stream !== undefined) {
      // A call whose ears and mouth are gone is over.
      client.onClose(() => {
        if (this.#calls.has(callId)) void this.#carryOut({ type: 'hangup', callId });
      });
    }
    return result;
  }

  #forget(callId: string): void {
    const call = this.#calls.get(callId);
    if (call === undefined) return;
    this.#calls.delete(callId);
    call.timer?.disarm();
    if (call.stream !== undefined) call.client.onAudio(undefined);
  }

  #limit(callId: string): void {
    const call = this.#calls.get(callId);
    if (call?.forMs === undefined) return;
    const { clock } = this.#station;
    call.timer = new WakeUp(clock, () => void this.#carryOut({ type: 'hangup', callId }));
    call.timer.arm(clock.now() + call.forMs);
  }
}

function openStream(client: ControlPeer): StreamDevice {
  const stream = new StreamDevice(systemTiming);
  client.onAudio((pcm) => stream.push(pcm));
  stream.onHeard((pcm) => client.sendAudio(pcm.slice(0, FRAME_SAMPLES)));
  return stream;
}

function withCallId(callId: string | undefined): { callId?: string } {
  return callId === undefined ? {} : { callId };
}

function contactResult({ name, accountId, rights, source }: Contact): ContactResult {
  return {
    name,
    id: accountId,
    can: [...rights],
    source: source === 'config' ? 'config' : 'station',
  };
}
