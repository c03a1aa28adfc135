import { equalBytes } from '../base/bytes.ts';
import { LIMITS } from './limits.ts';

interface Report {
  readonly ip: Uint8Array;
  count: number;
}

/**
 * Our own address in one family as others say they see it (`sa` in replies, opendht.md 14). The most reported one is
 * offered; with too many different ones the least reported makes room, so that lies do not push out what most say.
 */
export class ReportedAddresses {
  readonly #ipBytes: number;
  #reports: Report[] = [];
  forgotten = 0;

  constructor(family: 4 | 6) {
    this.#ipBytes = family === 4 ? 4 : 16;
  }

  /** Different addresses that were reported. */
  get size(): number {
    return this.#reports.length;
  }

  add(ip: Uint8Array | undefined): void {
    if (ip?.length !== this.#ipBytes) return;
    const known = this.#reports.find((report) => equalBytes(report.ip, ip));
    if (known !== undefined) {
      known.count++;
      return;
    }
    if (this.#reports.length === LIMITS.reportedAddresses) {
      this.#reports.splice(this.#reports.indexOf(least(this.#reports)), 1);
      this.forgotten++;
    }
    this.#reports.push({ ip, count: 1 });
  }

  /** The address that most say, the earliest of those that equally many say. */
  get mostReported(): Uint8Array | undefined {
    let most: Report | undefined;
    for (const report of this.#reports)
      if (most === undefined || report.count > most.count) most = report;
    return most?.ip;
  }

  clear(): void {
    this.#reports = [];
  }
}

function least(reports: readonly Report[]): Report {
  let found = reports[0] as Report;
  for (const report of reports) if (report.count < found.count) found = report;
  return found;
}
