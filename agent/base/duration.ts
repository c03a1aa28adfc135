import type { Millis } from './clock.ts';

const UNIT_MS: Readonly<Record<string, Millis>> = { ms: 1, s: 1000, m: 60_000, h: 3_600_000 };

/** What `parseDuration` takes, in words for error messages. */
export const DURATION_EXPECTED = 'a time with its unit, such as 500ms, 10s, 5m or 1h';

/**
 * `10s`, `1.5m`, `500ms`, `1h`. A bare number is refused: nobody should have to guess its unit.
 * @returns whole ms, or undefined when `text` is not a duration
 */
export function parseDuration(text: string): Millis | undefined {
  const match = /^(\d{1,9}(?:\.\d{1,3})?)(ms|s|m|h)$/.exec(text);
  const unitMs = UNIT_MS[match?.[2] ?? ''];
  return unitMs === undefined ? undefined : Math.round(Number(match?.[1]) * unitMs);
}
