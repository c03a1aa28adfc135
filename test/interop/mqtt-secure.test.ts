import { execFileSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';
import { systemClock } from '../../agent/base/clock.ts';
import { createLogger } from '../../agent/base/log.ts';
import { systemRandom } from '../../agent/base/random.ts';
import { createMqtt, type Mqtt, type MqttConfig } from '../../agent/mqtt/client.ts';
import { Mosquitto } from '../mqtt/mosquitto.ts';
import { info } from '../mqtt/samples.ts';
import { until } from './until.ts';

/** Names, passwords and TLS, with mosquitto and certificates made by openssl. */

const PORT = 46420;
const TLS_PORT = 46421;
const SECRET = 'correct horse';

const folder = mkdtempSync(join(tmpdir(), 'doorward-mqtt-'));
const file = (name: string) => join(folder, name);
const plain = new Mosquitto(PORT, ['allow_anonymous false', `password_file ${file('users')}`]);
const tls = new Mosquitto(TLS_PORT, [
  'allow_anonymous true',
  `certfile ${file('broker.pem')}`,
  `keyfile ${file('broker.key')}`,
]);
const stations: Mqtt[] = [];

function openssl(...args: string[]): void {
  execFileSync('openssl', args, { cwd: folder, stdio: 'pipe' });
}

beforeAll(async () => {
  execFileSync('mosquitto_passwd', ['-b', '-c', file('users'), 'front', SECRET]);
  writeFileSync(file('password'), `${SECRET}\n`);
  writeFileSync(file('wrong'), 'battery staple');
  const key = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes'];
  for (const ca of ['ca', 'other']) {
    openssl(
      'req',
      '-x509',
      ...key,
      '-subj',
      `/CN=${ca}`,
      '-keyout',
      `${ca}.key`,
      '-out',
      `${ca}.pem`,
    );
  }
  openssl('req', ...key, '-subj', '/CN=broker', '-keyout', 'broker.key', '-out', 'broker.csr');
  writeFileSync(file('names'), 'subjectAltName=IP:127.0.0.1');
  const signed = ['-CA', 'ca.pem', '-CAkey', 'ca.key', '-CAcreateserial', '-extfile', 'names'];
  openssl('x509', '-req', '-in', 'broker.csr', ...signed, '-out', 'broker.pem');
  await plain.start();
  await tls.start();
});

afterEach(async () => {
  for (const station of stations.splice(0)) await station.stop();
});

afterAll(async () => {
  await plain.remove();
  await tls.remove();
  rmSync(folder, { recursive: true, force: true });
});

function start(config: Omit<MqttConfig, 'base'>) {
  let log = '';
  const mqtt = createMqtt({
    config: { base: 'doorward', ...config },
    node: 'front',
    info,
    privacy: { publishMessageText: false },
    clock: systemClock,
    random: systemRandom,
    logger: createLogger({
      level: 'debug',
      journal: true,
      write: (line) => {
        log += line;
      },
      unixMs: systemClock.unixMs,
    }),
    handle: async () => ({ code: 'ok', message: '' }),
  });
  stations.push(mqtt);
  mqtt.start();
  return { mqtt, log: () => log };
}

describe('a broker with users', () => {
  const url = `mqtt://127.0.0.1:${PORT}`;

  test('lets in who has the password of the file', async () => {
    const { mqtt } = start({ url, username: 'front', passwordFile: file('password') });
    await until(() => mqtt.state() === 'connected');
  });

  test('keeps out the wrong password; the log tells why and not which', async () => {
    const station = start({ url, username: 'front', passwordFile: file('wrong') });
    await until(() => /code=(bad_login|not_authorized)/.test(station.log()));
    expect(station.mqtt.state()).toBe('offline');
    expect(station.mqtt.stats()).toMatchObject({ protocolVersion: 5, attempts: 1 });
    expect(station.log()).not.toContain('staple');
  });
});

describe('a broker with TLS', () => {
  const url = `mqtts://127.0.0.1:${TLS_PORT}`;

  test('is reached when its authority is the configured one', async () => {
    const { mqtt } = start({ url, caFile: file('ca.pem') });
    await until(() => mqtt.state() === 'connected');
    await mqtt.stop();
    expect(tls.log.join('\n')).toContain('Received DISCONNECT from doorward-fedcba98');
  });

  test.each([
    ['another authority', { caFile: file('other.pem') }],
    ['no authority', {}],
  ])('is not spoken to with %s', async (_name, config) => {
    const station = start({ url, ...config });
    await until(() => /code=[A-Z_]*(SIGNATURE|CERT|ISSUER)/.test(station.log()));
    expect(station.mqtt.state()).toBe('offline');
  });

  test('under a name that its certificate does not have is not spoken to', async () => {
    const station = start({ url: `mqtts://localhost:${TLS_PORT}`, caFile: file('ca.pem') });
    await until(() => station.log().includes('ERR_TLS_CERT_ALTNAME_INVALID'));
    expect(station.mqtt.state()).toBe('offline');
  });
});
