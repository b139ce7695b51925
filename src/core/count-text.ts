// Numbers with their nouns, in sentences that people read. Pure.

/** "1 copy", "3 copies"; the plural is the noun with an s unless given. */
export function counted(count: number, noun: string, plural = `${noun}s`): string {
  return `${count} ${count === 1 ? noun : plural}`;
}

/** "1 copy", "3 copies". */
export function copiesText(count: number): string {
  return counted(count, 'copy', 'copies');
}
