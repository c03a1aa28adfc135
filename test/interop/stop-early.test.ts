import { afterAll, beforeAll, expect, test } from 'vitest';
import { Workshop, waitFor } from './harness.ts';

let workshop: Workshop;

beforeAll(async () => {
  workshop = await Workshop.open('stop-early');
});
afterAll(() => workshop.close());

test.each(['SIGINT', 'SIGTERM'] as const)(
  '%s while the first keys are made ends the station within 2 s, and the next start begins anew',
  async (signal) => {
    const station = await workshop.station(signal.toLowerCase(), [
      'dht: { bind: 127.0.0.1, port: 48180 }',
      'audio: { device: "null" }',
      'mqtt: { enabled: false }',
    ]);
    for (let start = 0; start < 2; start++) {
      const program = station.spawn();
      await waitFor('keys are being made', () => program.output.includes('making the identity'));
      const at = performance.now();
      program.child.kill(signal);
      expect(await program.exited, program.output).toBe(0);
      expect(performance.now() - at).toBeLessThan(2_000);
    }
  },
);
