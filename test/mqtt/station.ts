import { systemClock } from '../../agent/base/clock.ts';
import { createLogger } from '../../agent/base/log.ts';
import { systemRandom } from '../../agent/base/random.ts';
import { createMqtt } from '../../agent/mqtt/client.ts';
import { info } from './samples.ts';

/**
 * The MQTT side of a station as a process of its own, to be killed: `node --import tsx test/mqtt/station.ts URL`. Writes
 * its log, and each command as a line of JSON. SIGTERM ends it cleanly.
 */
const write = (line: string) => process.stdout.write(line);

const mqtt = createMqtt({
  config: { url: process.argv[2] ?? '', base: 'doorward' },
  node: 'front',
  info,
  privacy: { publishMessageText: false },
  clock: systemClock,
  random: systemRandom,
  logger: createLogger({ level: 'debug', journal: true, write, unixMs: systemClock.unixMs }),
  handle: async (command) => {
    write(`${JSON.stringify(command)}\n`);
    return { code: 'accepted', message: 'on it' };
  },
});

process.once('SIGTERM', () => {
  void mqtt.stop();
});
mqtt.start();
