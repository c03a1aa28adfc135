import { execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

/**
 * An echo server behind each UDP driver, under closed-loop load from 512 addresses on loopback. Both drivers in the same
 * minutes, in turn, so that what else the machine does hits both. Needs a C compiler for the load driver.
 * Run: node --import tsx test/bench/udp.ts [seconds per figure]
 */

const BACKENDS = ['batch', 'dgram'] as const;
/** Datagrams in flight: a node that is asked now and then, a busy one, a flood. */
const WINDOWS = [1, 8, 256];
const ROUNDS = 2;
const FIRST_PORT = 46_620;

const peers = join(import.meta.dirname, 'peers');

function measure(load: string, port: number, window: number, pid: number, seconds: number): string {
  return execFileSync(
    load,
    [String(port), 'ping', String(seconds), String(window), '512', String(pid)],
    { encoding: 'utf8' },
  );
}

const seconds = Number(process.argv[2] ?? 2);
const folder = mkdtempSync(join(tmpdir(), 'doorward-bench-'));
try {
  const load = join(folder, 'dhtload');
  execFileSync('cc', ['-O2', '-o', load, join(peers, 'dhtload.c')]);
  console.log('backend  in flight  replies/s  replies per CPU s  p50 µs  p99 µs  lost');
  for (let round = 0; round < ROUNDS; round++) {
    for (const [i, backend] of BACKENDS.entries()) {
      const port = FIRST_PORT + i;
      const server = spawn(
        process.execPath,
        ['--import', 'tsx', join(peers, 'udp-echo.ts'), backend, String(port)],
        { stdio: ['ignore', 'pipe', 'inherit'] },
      );
      try {
        await once(server.stdout, 'data');
        for (const window of WINDOWS) {
          const line = measure(load, port, window, server.pid ?? 0, seconds);
          const value = (name: string) =>
            /(\d+)/.exec(line.split(` ${name}=`)[1] ?? '')?.[1] ?? '?';
          console.log(
            backend.padEnd(8),
            String(window).padStart(9),
            value('per_s').padStart(10),
            value('per_cpu_s').padStart(18),
            value('p50_us').padStart(7),
            value('p99_us').padStart(7),
            value('lost').padStart(5),
          );
        }
      } finally {
        server.kill('SIGTERM');
        await once(server, 'exit');
      }
    }
  }
} finally {
  rmSync(folder, { recursive: true });
}
