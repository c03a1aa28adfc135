/**
 * Damerau-Levenshtein distance, the restricted form (optimal string alignment): insert, delete, replace, and swap of
 * two neighbours cost 1 each, and no place is edited twice.
 * @see Damerau 1964; Boytsov 2011, "Indexing methods for approximate dictionary searching", 2.2
 */
export function editDistance(a: string, b: string): number {
  let twoAbove: number[] = [];
  let above = Array.from({ length: b.length + 1 }, (_, i) => i);
  for (let i = 1; i <= a.length; i++) {
    const row = [i];
    for (let j = 1; j <= b.length; j++) {
      const same = a[i - 1] === b[j - 1];
      let cost = Math.min(
        (above[j] ?? 0) + 1,
        (row[j - 1] ?? 0) + 1,
        (above[j - 1] ?? 0) + (same ? 0 : 1),
      );
      if (i > 1 && j > 1 && a[i - 1] === b[j - 2] && a[i - 2] === b[j - 1]) {
        cost = Math.min(cost, (twoAbove[j - 2] ?? 0) + 1);
      }
      row.push(cost);
    }
    twoAbove = above;
    above = row;
  }
  return above[b.length] ?? 0;
}

/** Longer words are no typo of any of ours, and the distance takes time in length squared. */
const MAX_WORD_LENGTH = 64;

/**
 * The word that was probably meant: the nearest, at most a third of its letters away (but one edit is always allowed);
 * letter case does not count. The earlier of two equally near wins.
 */
export function nearestWord(typed: string, words: Iterable<string>): string | undefined {
  if (typed.length > MAX_WORD_LENGTH) return undefined;
  let best: string | undefined;
  let bestDistance = Number.POSITIVE_INFINITY;
  for (const word of words) {
    const distance = editDistance(typed.toLowerCase(), word.toLowerCase());
    const allowed = Math.max(1, Math.floor(word.length / 3));
    if (distance <= allowed && distance < bestDistance && distance < word.length) {
      best = word;
      bestDistance = distance;
    }
  }
  return best;
}
