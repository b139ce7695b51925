// The notes of one member of what another one misses (4.7): bounded, and adopted from an earlier life only as far as the
// view allows. Method: the notes alone, on views made by hand.

import test from 'ava';
import type { ConfigVersion, GenerationId, NodeId } from '../../src/core/ids.ts';
import { MAX_DIRTY_OBJECTS } from '../../src/core/outage.ts';
import type { ClusterView } from '../../src/core/view.ts';
import { DirtyMaps } from '../../src/datapath/dirty-maps.ts';
import { ViewCell } from '../../src/datapath/view-cell.ts';
import type { KeptOutages, ObjectStore } from '../../src/storage/store-types.ts';

const SELF = 1 as NodeId;
const AWAY = 3 as NodeId;
const ONE_REGION = { low: 1, high: 0 };

function view(index: number, inSync: number[], joining: number[] = []): ClusterView {
  const config = { cfg: index, targets: [1, 2, 3], inSync, joining, doubtful: [] };
  return {
    index,
    placement: {},
    partitions: 1,
    policies: new Map([[0, { id: 0 }]]),
    explicitPartitions: () => [0],
    partition: () => config,
  } as unknown as ClusterView;
}

const oid = (index: number) => ({ generation: 5 as GenerationId, index });
const FIRST = oid(0);

class Notes {
  readonly warnings: string[] = [];
  readonly views: ViewCell;
  readonly maps: DirtyMaps;
  source: () => KeptOutages = () => ({ mapIndex: 0, maps: [] });
  saves = 0;

  constructor(start: ClusterView, kept?: KeptOutages) {
    this.views = new ViewCell(start);
    const store = {
      keptOutages: kept,
      rowsOf: () => [],
      followOutages: (source: () => KeptOutages) => {
        this.source = source;
      },
      saveOutages: () => {
        this.saves += 1;
      },
    } as unknown as ObjectStore;
    const trace = {
      event: () => {},
      count: () => {},
      warn: (name: string) => this.warnings.push(name),
    };
    this.maps = new DirtyMaps({
      self: SELF,
      views: this.views,
      store,
      trace,
      isAnnounced: () => true,
    });
    this.views.onChange(() => this.maps.follow());
  }

  /** Objects that AWAY is told of; undefined: unknown. */
  told(limit = 10): readonly number[] | undefined {
    const page = this.maps.page({ partition: 0, node: AWAY }, FIRST, limit);
    return page?.objects.map(({ index }) => index);
  }
}

const kept = (mapIndex: number): KeptOutages => ({
  mapIndex,
  maps: [
    {
      partition: 0,
      node: AWAY,
      since: 4 as ConfigVersion,
      objects: new Map([['5/7', { ...oid(7), ...ONE_REGION }]]),
    },
  ],
});

test('too many notes are dropped: the member is told that nobody knows, and later ones are not taken for all', (t) => {
  const notes = new Notes(view(1, [1, 2, 3]));
  notes.views.set(view(2, [1, 2]));
  for (let index = 1; index <= MAX_DIRTY_OBJECTS; index += 1) {
    notes.maps.note(0, oid(index), ONE_REGION);
  }
  t.is(notes.maps.objectCount, MAX_DIRTY_OBJECTS);
  t.deepEqual(notes.warnings, []);
  notes.maps.note(0, oid(MAX_DIRTY_OBJECTS + 1), ONE_REGION);
  t.deepEqual(notes.warnings, ['dirty.overflow']);
  t.is(notes.maps.objectCount, 0);
  notes.maps.note(0, oid(1), ONE_REGION);
  notes.views.set(view(3, [1, 2], [3]));
  t.is(notes.told(), undefined);
  t.deepEqual(notes.source().maps, [], 'and nothing of it is kept');
});

test('notes of an earlier life: told when the member joins, dropped when it is in sync', (t) => {
  const notes = new Notes(view(5, [1, 2]), kept(5));
  notes.maps.note(0, oid(9), ONE_REGION);
  t.is(notes.told(), undefined, 'it does not join yet');
  notes.views.set(view(6, [1, 2], [3]));
  t.deepEqual(notes.told(), [7, 9]);
  notes.views.set(view(7, [1, 2, 3]));
  t.is(notes.maps.objectCount, 0);
});

test('notes of an earlier life are not judged by a view that is older than what that life had seen', (t) => {
  const notes = new Notes(view(3, [1, 2, 3]), kept(5));
  notes.maps.note(0, oid(9), ONE_REGION);
  notes.views.set(view(4, [1, 2, 3]));
  t.is(notes.maps.objectCount, 2, 'that view knows nothing of the outage');
  t.is(notes.source().mapIndex, 5, 'and what is kept says so');
  notes.views.set(view(5, [1, 2]));
  notes.views.set(view(6, [1, 2], [3]));
  t.deepEqual(notes.told(), [7, 9]);
});

test('notes of an earlier life are worth nothing when the member is in sync, or who notes is not', (t) => {
  t.is(new Notes(view(5, [1, 2, 3]), kept(5)).maps.objectCount, 0);
  t.is(new Notes(view(5, [2]), kept(5)).maps.objectCount, 0);
  const later = new Notes(view(3, [1, 2, 3]), kept(5));
  later.views.set(view(6, [1, 2, 3]));
  t.is(later.maps.objectCount, 0);
});

test('notes that begin are kept at once', (t) => {
  const notes = new Notes(view(1, [1, 2, 3]));
  notes.views.set(view(2, [1, 2]));
  t.is(notes.saves, 1);
  notes.views.set(view(3, [1, 2], [3]));
  t.is(notes.saves, 1);
});
