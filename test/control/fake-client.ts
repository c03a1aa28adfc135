import type { ControlPeer } from '../../agent/control/server.ts';

/** A client of the control socket without a socket. */
export class FakeClient implements ControlPeer {
  readonly id = 1;
  readonly heard: Int16Array[] = [];
  readonly notified: { readonly method: string; readonly params: object }[] = [];
  /** As if so much had not been read. */
  unsentBytes = 0;
  isClosed = false;
  audioListener: ((pcm: Int16Array) => void) | undefined;
  readonly #closeListeners: (() => void)[] = [];
  readonly #drainListeners: (() => void)[] = [];

  onAudio(listener: ((pcm: Int16Array) => void) | undefined): void {
    this.audioListener = listener;
  }

  sendAudio(pcm: Int16Array): boolean {
    this.heard.push(pcm);
    return !this.isClosed;
  }

  notify(method: string, params: object): boolean {
    this.notified.push({ method, params });
    return !this.isClosed;
  }

  onDrain(listener: () => void): void {
    this.#drainListeners.push(listener);
  }

  /** Read everything. */
  drain(): void {
    this.unsentBytes = 0;
    for (const listener of this.#drainListeners) listener();
  }

  onClose(listener: () => void): void {
    if (this.isClosed) listener();
    else this.#closeListeners.push(listener);
  }

  close(): void {
    this.isClosed = true;
    for (const listener of this.#closeListeners.splice(0)) listener();
  }
}
