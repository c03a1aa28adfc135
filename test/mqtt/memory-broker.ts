import { fromUtf8, utf8 } from '../../agent/base/bytes.ts';
import type {
  Connect,
  ConnectionHandlers,
  ConnectionOptions,
} from '../../agent/mqtt/connection.ts';
import type { ProtocolVersion } from '../../agent/mqtt/link.ts';
import type { IncomingMessage, OutgoingMessage } from '../../agent/mqtt/message.ts';

/** What the broker saw, in order; `subscribe …`, `publish …`, `will …`, `disconnect`. */
export interface Seen {
  readonly what: 'connect' | 'subscribe' | 'unsubscribe' | 'publish' | 'will' | 'disconnect';
  readonly topic: string;
  readonly payload: string;
  readonly retain: boolean;
}

interface Session {
  readonly options: ConnectionOptions;
  readonly handlers: ConnectionHandlers;
  readonly filters: Map<string, { readonly storedToo: boolean }>;
  isOpen: boolean;
}

/**
 * A broker in memory, the twin of connection.ts and what is behind it: retained store, wills, Retain Handling and Retain
 * As Published for MQTT 5, acknowledgements that can be held back. Everything happens a microtask later, as it never
 * happens at once on a wire.
 */
export class MemoryBroker {
  /** Versions it takes. */
  versions: readonly ProtocolVersion[] = [4, 5];
  /** Refuses connections, as a broker that is not running. */
  isDown = false;
  /** Takes publishes and never acknowledges. */
  isMute = false;
  /** Keeps nothing, whatever the retain bit says. */
  isForgetful = false;
  readonly retained = new Map<string, string>();
  readonly seen: Seen[] = [];
  attempts: ProtocolVersion[] = [];
  #sessions = new Set<Session>();

  readonly connect: Connect = (options, handlers) => {
    const session: Session = { options, handlers, filters: new Map(), isOpen: false };
    this.attempts.push(options.protocolVersion);
    queueMicrotask(() => {
      if (this.isDown) handlers.closed({ code: 'ECONNREFUSED' });
      else if (!this.versions.includes(options.protocolVersion)) {
        handlers.closed({ code: 'protocol_version', versionRefused: 'refused' });
      } else {
        session.isOpen = true;
        this.#sessions.add(session);
        this.#see('connect', options.clientId);
        handlers.opened(undefined);
      }
    });
    return {
      publish: (message, done) => {
        this.#later(session, () => {
          this.#see('publish', message.topic, message.payload, message.retain);
          if (this.isMute) return;
          this.#route(message);
          done(true);
        });
      },
      subscribe: (filter, storedToo, done) => {
        this.#later(session, () => {
          this.#see('subscribe', filter);
          session.filters.set(filter, { storedToo });
          done(true);
          if (options.protocolVersion === 5 && !storedToo) return;
          for (const [topic, payload] of this.retained) {
            if (matches(filter, topic)) {
              handlers.received({ topic, payload: utf8(payload), retain: true });
            }
          }
        });
      },
      unsubscribe: (filter) => {
        this.#later(session, () => {
          this.#see('unsubscribe', filter);
          session.filters.delete(filter);
        });
      },
      close: async (clean) => {
        await Promise.resolve();
        if (!session.isOpen) return;
        if (clean) this.#see('disconnect', options.clientId);
        this.#end(session, clean);
      },
    };
  };

  /** Someone else publishes. */
  publish(
    topic: string,
    payload: string,
    extras: Partial<Omit<IncomingMessage, 'topic' | 'payload'>> = {},
  ): void {
    this.#route({ topic, payload, retain: extras.retain ?? false }, extras);
  }

  /** Every connection is cut, wills are published. */
  cut(): void {
    for (const session of [...this.#sessions]) this.#end(session, false);
  }

  /** The payloads published to `topic`, parsed where they are JSON. */
  published(topic: string): unknown[] {
    return this.seen
      .filter((seen) => seen.what === 'publish' && seen.topic === topic)
      .map(({ payload }) => (payload.startsWith('{') ? JSON.parse(payload) : payload));
  }

  #end(session: Session, clean: boolean): void {
    session.isOpen = false;
    this.#sessions.delete(session);
    const { will } = session.options;
    if (!clean) {
      this.#see('will', will.topic, will.payload, will.retain);
      this.#route(will);
    }
    session.handlers.closed({ code: 'closed' });
  }

  #route(message: OutgoingMessage, extras: Partial<IncomingMessage> = {}): void {
    const { topic, payload, retain } = message;
    if (retain && !this.isForgetful) {
      if (payload === '') this.retained.delete(topic);
      else this.retained.set(topic, payload);
    }
    for (const session of this.#sessions) {
      for (const [filter, { storedToo }] of session.filters) {
        if (!matches(filter, topic)) continue;
        const asPublished = session.options.protocolVersion === 5 && !storedToo;
        const delivery = {
          ...(session.options.protocolVersion === 5 && extras),
          topic,
          payload: utf8(payload),
          retain: asPublished && retain,
        };
        this.#later(session, () => session.handlers.received(delivery));
      }
    }
  }

  #later(session: Session, action: () => void): void {
    queueMicrotask(() => {
      if (session.isOpen) action();
    });
  }

  #see(what: Seen['what'], topic: string, payload = '', retain = false): void {
    this.seen.push({ what, topic, payload: fromUtf8(utf8(payload)), retain });
  }
}

/** Enough of [MQTT 4.7] for our filters: exact, or a prefix and `#`. */
function matches(filter: string, topic: string): boolean {
  return filter.endsWith('#') ? topic.startsWith(filter.slice(0, -1)) : filter === topic;
}
