import { AgentError } from '../base/errors.ts';
import { RESPONSE_TOPIC_LENGTH } from './limits.ts';

/**
 * The names under `<base>/<node>/`. No peer ever becomes a topic level: a broker's access list and a dump of its topics
 * must not give away the contact list.
 */
export interface Topics {
  readonly availability: string;
  readonly info: string;
  readonly callState: string;
  readonly netState: string;
  readonly audioState: string;
  readonly callEvent: string;
  readonly messageEvent: string;
  readonly securityEvent: string;
  readonly systemEvent: string;
  /** The filter of every command. */
  readonly commands: string;
  /** What the levels of a command topic start with, slash included. */
  readonly commandPrefix: string;
  readonly resultPrefix: string;
  /** `<base>/`: everything of every station here. */
  readonly basePrefix: string;
}

const NODE = /^[a-z0-9_-]{1,32}$/;
const BASE = /^[A-Za-z0-9_-]{1,64}(?:\/[A-Za-z0-9_-]{1,64}){0,3}$/;

/**
 * @param base one to four levels, without a slash at either end
 * @param node `[a-z0-9_-]{1,32}`
 * @throws {AgentError} `mqtt-base`, `mqtt-node`
 */
export function createTopics(base: string, node: string): Topics {
  if (!BASE.test(base)) {
    throw new AgentError(
      'mqtt-base',
      `"${base}" cannot be the base of MQTT topics`,
      'use letters, digits, "_" and "-", levels separated by "/", none of them empty',
    );
  }
  if (!NODE.test(node)) {
    throw new AgentError(
      'mqtt-node',
      `"${node}" cannot be the name of a node`,
      'use 1 to 32 of the characters a-z 0-9 _ -',
    );
  }
  const root = `${base}/${node}`;
  return {
    availability: `${root}/availability`,
    info: `${root}/info`,
    callState: `${root}/call/state`,
    netState: `${root}/net/state`,
    audioState: `${root}/audio/state`,
    callEvent: `${root}/event/call`,
    messageEvent: `${root}/event/message`,
    securityEvent: `${root}/event/security`,
    systemEvent: `${root}/event/system`,
    commands: `${root}/cmd/#`,
    commandPrefix: `${root}/cmd/`,
    resultPrefix: `${root}/result/`,
    basePrefix: `${base}/`,
  };
}

/** `door/main` of `<base>/<node>/cmd/door/main`; undefined when `topic` is no command of this station. */
export function verbOf(topics: Topics, topic: string): string | undefined {
  const prefix = topics.commandPrefix;
  return topic.length > prefix.length && topic.startsWith(prefix)
    ? topic.slice(prefix.length)
    : undefined;
}

/**
 * May a result go to this Response Topic? It is chosen by whoever sent the command and published with our rights, so it
 * must not reach a command, a state or an event of any station.
 */
export function isResponseTopic(topics: Topics, topic: string): boolean {
  return (
    topic.length > 0 &&
    topic.length <= RESPONSE_TOPIC_LENGTH &&
    !/[+#\p{Cc}]/u.test(topic) &&
    !topic.startsWith('$') &&
    (!topic.startsWith(topics.basePrefix) || topic.startsWith(topics.resultPrefix))
  );
}
