import { readFileSync } from 'node:fs';

/** What Linux tells of running processes. */

export interface Memory {
  readonly rssMb: number;
  /** Of nobody else: clean and dirty. */
  readonly privateMb: number;
  /** Shared pages by the share of each process. */
  readonly pssMb: number;
}

export function memoryOf(pid: number): Memory {
  const rollup = readFileSync(`/proc/${pid}/smaps_rollup`, 'utf8');
  const mb = (field: string) => {
    const match = new RegExp(`^${field}:\\s+(\\d+) kB`, 'm').exec(rollup);
    return Number(match?.[1] ?? Number.NaN) / 1024;
  };
  return {
    rssMb: mb('Rss'),
    privateMb: mb('Private_Clean') + mb('Private_Dirty'),
    pssMb: mb('Pss'),
  };
}

export interface Traffic {
  readonly packets: number;
  readonly bytes: number;
}

/** What went over the loopback interface of the network that process `pid` lives in; each packet counted once. */
export function loopbackTraffic(pid: number): Traffic {
  const dev = readFileSync(`/proc/${pid}/net/dev`, 'utf8');
  const [bytes = Number.NaN, packets = Number.NaN] =
    /^\s*lo:\s*(.*)$/m.exec(dev)?.[1]?.split(/\s+/).map(Number) ?? [];
  return { packets, bytes };
}

/** Rise per step, by least squares. */
export function slopeOf(values: readonly number[]): number {
  const n = values.length;
  const mean = (list: readonly number[]) => list.reduce((sum, each) => sum + each, 0) / n;
  const x = values.map((_, i) => i);
  const [meanX, meanY] = [mean(x), mean(values)];
  const covariance = mean(values.map((y, i) => (i - meanX) * (y - meanY)));
  return covariance / mean(x.map((each) => (each - meanX) ** 2));
}
