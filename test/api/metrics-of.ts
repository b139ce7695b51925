// What a collector reads of a node: the text of GET /metrics, cut into values.

import { request } from 'node:http';
import type { Target } from '../../src/cli/client.ts';

export interface Metrics {
  /** Of the content. */
  readonly type: string;
  /** By name with labels, as the text has them. */
  readonly values: ReadonlyMap<string, number>;
}

export async function metricsOf(target: Target): Promise<Metrics> {
  const { type, text } = await textOf(target);
  const lines = text.split('\n').filter((line) => line !== '' && !line.startsWith('#'));
  const values = lines.map((line): [string, number] => {
    const at = line.lastIndexOf(' ');
    return [line.slice(0, at), Number(line.slice(at + 1))];
  });
  return { type, values: new Map(values) };
}

function textOf(target: Target): Promise<{ readonly type: string; readonly text: string }> {
  return new Promise((resolve, reject) => {
    const ask = request({ ...target, path: '/metrics' }, (answer) => {
      let text = '';
      answer.setEncoding('utf8').on('data', (part: string) => {
        text += part;
      });
      answer.once('end', () => resolve({ type: String(answer.headers['content-type']), text }));
    });
    ask.once('error', reject).end();
  });
}
