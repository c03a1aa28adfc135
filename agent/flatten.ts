/** Counters of parts within parts as `part.counter`; what is no number is left out. */
export function flatten(stats: object, prefix = ''): Record<string, number> {
  const flat: Record<string, number> = {};
  for (const [key, value] of Object.entries(stats)) {
    if (typeof value === 'number') flat[prefix + key] = value;
    else if (typeof value === 'object' && value !== null) {
      Object.assign(flat, flatten(value, `${prefix}${key}.`));
    }
  }
  return flat;
}
