import type { KeyObject } from 'node:crypto';
import { Worker } from 'node:worker_threads';
import { type Clock, WakeUp } from '../base/clock.ts';
import { AgentError } from '../base/errors.ts';
import { WORKER_IDLE_MS } from './limits.ts';
import type { RawRsa } from './raw-rsa.ts';

/**
 * Driver: the stand-in where libcrypto is missing. A worker thread that runs while there is work. Its program is a string, so
 * that the bundle stays one file.
 */
const PROGRAM = `
const { parentPort, workerData } = require('node:worker_threads');
const { constants, privateDecrypt } = require('node:crypto');
const key = { key: workerData, padding: constants.RSA_NO_PADDING };
parentPort.on('message', (block) => {
  let plain;
  try { plain = new Uint8Array(privateDecrypt(key, block)); } catch {}
  parentPort.postMessage(plain);
});`;

export class WorkerRsa implements RawRsa {
  readonly #key: KeyObject;
  readonly #idle: WakeUp;
  readonly #clock: Clock;
  #worker: Worker | undefined;

  constructor(key: KeyObject, clock: Clock) {
    this.#key = key;
    this.#clock = clock;
    this.#idle = new WakeUp(clock, () => this.#end());
  }

  decrypt(block: Uint8Array): Promise<Uint8Array | undefined> {
    this.#idle.disarm();
    const worker = this.#running();
    worker.ref();
    return new Promise((resolve, reject) => {
      const settled = () => {
        worker.off('message', onMessage).off('error', onFailure).off('exit', onFailure);
        worker.unref();
        if (this.#worker === worker) this.#idle.arm(this.#clock.now() + WORKER_IDLE_MS);
      };
      const onMessage = (plain: Uint8Array | undefined) => {
        settled();
        resolve(plain);
      };
      const onFailure = (cause: unknown) => {
        this.#worker = undefined;
        settled();
        reject(
          new AgentError('decryption-failed', 'the thread that decrypts ended', undefined, {
            cause,
          }),
        );
      };
      worker.on('message', onMessage).on('error', onFailure).on('exit', onFailure);
      worker.postMessage(block);
    });
  }

  close(): void {
    this.#idle.disarm();
    this.#end();
  }

  #running(): Worker {
    const worker =
      this.#worker ??
      new Worker(PROGRAM, {
        eval: true,
        workerData: this.#key,
        execArgv: [],
        resourceLimits: { maxOldGenerationSizeMb: 8, maxYoungGenerationSizeMb: 1, stackSizeMb: 1 },
      });
    this.#worker = worker;
    return worker;
  }

  #end(): void {
    const worker = this.#worker;
    this.#worker = undefined;
    void worker?.terminate();
  }
}
