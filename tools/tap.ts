// The one thing we need to know of TAP: what a line says about a test.

/** Undefined for a line that is no result: details, plans, comments. */
export function tapLine(line: string): 'passed' | 'failed' | 'skipped' | undefined {
  if (/^not ok \d+/.test(line)) return / # TODO/.test(line) ? 'skipped' : 'failed';
  if (!/^ok \d+/.test(line)) return undefined;
  return / # (SKIP|TODO)/.test(line) ? 'skipped' : 'passed';
}
