// Who carries out a schedule: does one step after the other on a stage, draws nothing, and keeps the list of what was
// done. The same steps on the same seed give the same run, whether a story draws them or a file has them. A step that has
// no sense at this point (a dead node is killed, a node that this cluster has not is cut off) is passed over: so a
// schedule from which steps were taken away can be played, too.

import { invariant } from '../../src/core/invariant.ts';
import type { RarePoint } from '../../src/ports/ports.ts';
import type { Guest } from '../guest.ts';
import {
  allHealed,
  applyHarm,
  astray,
  type Cure,
  failing,
  fill,
  healed,
} from '../scenarios/disk-faults.ts';
import type { SimNode } from '../sim-node.ts';
import { isCalledDown, type Stage } from '../stage.ts';
import { RunFailure } from '../world.ts';
import { lastReads, mayHalt, ruin, tryOn } from './beyond.ts';
import type { FaultStep, GuestWork, OtherStep, Step, TimedStep } from './step.ts';

/** A cluster with a fault that stays comes to rest within this, and then does not move for REST_S. */
const SETTLE_S = 60;
const REST_S = 30;
/** Objects that nobody writes are closed within this. */
const CLOSE_S = 6;

export class Players {
  /** All that was done so far. */
  readonly steps: TimedStep[] = [];
  readonly #stage: Stage;
  readonly #cures = new Map<string, Cure[]>();
  #guest: Guest | undefined;
  #work: GuestWork | undefined;

  constructor(stage: Stage) {
    this.#stage = stage;
  }

  /** The guest that works now. */
  get guest(): Guest {
    invariant(this.#guest !== undefined, 'a step has made a guest before it is asked for');
    return this.#guest;
  }

  async do(step: Step): Promise<void> {
    const { at: _past, ...bare } = step as TimedStep;
    this.steps.push({ at: Math.round(this.#stage.world.nowMs) / 1000, ...bare } as TimedStep);
    if ('fault' in step) await this.#hurt(step);
    else if ('cure' in step) await this.#cures.get(`${step.cure} ${step.node}`)?.shift()?.();
    else await this.#other(step);
  }

  async play(steps: readonly Step[]): Promise<void> {
    for (const step of steps) await this.do(step);
  }

  #find(name: string): SimNode | undefined {
    return this.#stage.nodes.find((node) => node.name === name);
  }

  #running(name: string): SimNode | undefined {
    return this.#stage.running.find((node) => node.name === name);
  }

  // ------------------------------------------------------------------------------------------- faults

  async #hurt(step: FaultStep): Promise<void> {
    const victim = this.#running(step.node);
    if (victim === undefined) return;
    this.#stage.world.note('stage', 'fault', `${step.fault} ${step.node}`);
    const cure = await this.#faultOf(step, victim);
    if (cure === undefined) return;
    const key = `${step.fault} ${step.node}`;
    this.#cures.set(key, [...(this.#cures.get(key) ?? []), cure]);
  }

  /** @returns how it ends; undefined = by itself */
  async #faultOf(step: FaultStep, victim: SimNode): Promise<Cure | undefined> {
    const { cable } = this.#stage;
    switch (step.fault) {
      case 'kill':
        victim.kill();
        return () => starts(victim);
      case 'power':
        victim.losePower();
        return () => starts(victim);
      case 'stop':
        await victim.stop();
        return () => starts(victim);
      case 'pause':
        victim.running().process.pause(step.ms);
        return undefined;
      case 'loss':
        cable.paths.setLoss(victim.name, step.rate);
        return async () => cable.paths.setLoss(victim.name, 0);
      case 'wiped':
      case 'ruined':
        return ruin(this.#stage, victim, step);
      case 'slow':
        victim.disk.slowness = step.factor;
        return async () => {
          victim.disk.slowness = 1;
        };
      default:
        return isOfDisk(step) ? this.#hurtDisk(step, victim) : this.#cut(step, victim);
    }
  }

  #cut(step: FaultStep, victim: SimNode): Cure {
    const { fault } = step;
    const others = this.#stage.nodes.filter((node) => node !== victim);
    const ends = fault === 'link' ? others.filter((node) => node.name === step.from) : others;
    const planes = fault === 'data' ? (['data'] as const) : undefined;
    const { paths } = this.#stage.cable;
    for (const { name } of ends) {
      if (fault !== 'mute') paths.cut(name, victim.name, planes);
      if (fault !== 'deaf' && fault !== 'link') paths.cut(victim.name, name, planes);
    }
    return async () => {
      for (const { name } of ends) {
        paths.heal(name, victim.name);
        paths.heal(victim.name, name);
      }
    };
  }

  async #hurtDisk(step: DiskStep, victim: SimNode): Promise<Cure> {
    const stage = this.#stage;
    if (step.fault === 'full') {
      const space = fill(victim, step.leaveBytes);
      return async () => space();
    }
    if (step.fault === 'failing') return failing(stage, victim, step.how);
    if (step.fault === 'rot') {
      for (const harm of step.harms) applyHarm(stage, victim, harm);
      return () => healed(stage);
    }
    return astray(stage, victim, step.accesses);
  }

  // ------------------------------------------------------------------------------------------- the rest

  async #other(step: OtherStep): Promise<void> {
    const stage = this.#stage;
    switch (step.act) {
      case 'form':
        while (stage.nodes.length < step.nodes) stage.addNode();
        return stage.form({ copies: step.copies });
      case 'weather':
        return this.#weather(step);
      case 'rare':
        stage.world.rarities = new Map(Object.entries(step.points)) as ReadonlyMap<
          RarePoint,
          number
        >;
        return;
      case 'note':
        stage.world.note('stage', step.name, step.text);
        return;
      case 'guest':
        return this.#newGuest(step);
      case 'run':
        return stage.run({ seconds: step.seconds });
      case 'converge':
        return stage.check.converges({ seconds: step.seconds });
      case 'move':
        return this.#move(step.node, step.seconds);
      case 'fair':
        return this.#fair();
      case 'heal':
        return stage.heal();
      default:
        return this.#waitOrJudge(step);
    }
  }

  async #waitOrJudge(step: OtherStep): Promise<void> {
    const stage = this.#stage;
    if (step.act === 'called-down') {
      const node = this.#find(step.node);
      const isDown = (): boolean => node !== undefined && isCalledDown(stage, node);
      if (node !== undefined) await stage.world.runUntil(isDown, step.seconds * 1000);
    } else if (step.act === 'stays-cut') {
      stage.cable.paths.cut(step.from, step.to);
      stage.world.note('stage', 'stays cut', `${step.from} ${step.to}`);
    } else if (step.act === 'may-halt') await mayHalt(stage);
    else if (step.act === 'try-on') this.#guest = await tryOn(stage, this.guest, this.#work);
    else if (step.act === 'last-reads') await lastReads(stage, this.guest);
    else if (step.act === 'rest') await rests(stage, step.absent);
    else if (step.act === 'verdict') await this.#verdict(step.node);
    else throw new RunFailure(`no such step: ${step.act}`);
  }

  #weather(weather: OtherStep & { act: 'weather' }): void {
    const { cable } = this.#stage;
    cable.gossipRate = weather.gossip;
    cable.gossipTwiceRate = weather.gossipTwice;
    cable.paths.slowness = weather.slowness;
    cable.paths.lossRate = weather.loss;
    cable.paths.breakRate = weather.breaks;
  }

  /** A cable as it should be, and product code on its beaten tracks: an election before its time is no peace. */
  #fair(): void {
    this.#stage.world.rarities = new Map();
    const { paths } = this.#stage.cable;
    paths.slowness = 1;
    paths.lossRate = 0;
    paths.breakRate = 0;
    for (const { name } of this.#stage.nodes) paths.setLoss(name, 0);
  }

  async #newGuest(step: OtherStep & { act: 'guest' }): Promise<void> {
    const at = this.#running(step.node) ?? this.#stage.running[0];
    const { sizeMiB, work } = step;
    this.#work = work;
    const place = at === undefined ? {} : { at };
    this.#guest = await this.#stage.createVolume({ name: 'disk', sizeMiB, ...place });
    this.#guest.writeForever(work);
  }

  async #move(to: string, seconds: number): Promise<void> {
    const node = this.#running(to);
    if (node === undefined || this.#guest === undefined) return;
    this.#guest.freeze();
    const successor = this.#stage.guestOf(this.#guest.volume);
    this.#guest = successor;
    successor.attach(node);
    await this.#stage.check.lockIsReachable(successor, { seconds });
    successor.writeForever(this.#work);
  }

  /** What nobody cured by now lives again. */
  async #verdict(name: string): Promise<void> {
    const stage = this.#stage;
    for (const node of stage.nodes) if (!node.isRunning) await node.start();
    const { guest } = this;
    guest.freeze();
    await stage.run({ seconds: CLOSE_S });
    const last = stage.guestOf(guest.volume);
    await guest.detach();
    const at = this.#running(name) ?? stage.running[0];
    if (at !== undefined) last.attach(at);
    await stage.check.everyAcknowledgedWriteIsReadable(last);
    await allHealed(stage, last);
    await stage.check.replicasAreIdentical();
  }
}

type DiskStep = Extract<FaultStep, { fault: 'rot' | 'astray' | 'full' | 'failing' }>;

function isOfDisk(step: FaultStep): step is DiskStep {
  return ['rot', 'astray', 'full', 'failing'].includes(step.fault);
}

async function starts(node: SimNode): Promise<void> {
  if (!node.isRunning) await node.start();
}

/** C-conv: nothing moves, and at most `absent` nodes that live are not up. */
async function rests(stage: Stage, absent: number): Promise<void> {
  await stage.world.whileWaiting(() => stage.run({ seconds: SETTLE_S }));
  const { epoch } = stage;
  await stage.world.whileWaiting(() => stage.run({ seconds: REST_S }));
  if (stage.epoch !== epoch) throw new RunFailure(`C-conv: epoch ${epoch} became ${stage.epoch}`);
  const statuses = stage.running.map((node) => node.running().handle.status());
  const leaders = statuses.filter(({ role }) => role === 'leader').length;
  if (leaders !== 1) throw new RunFailure(`C-conv: ${leaders} leaders`);
  const notUp = statuses.filter(({ phase }) => phase !== 'up').length;
  if (notUp > absent) throw new RunFailure(`C-conv: ${notUp} nodes live and are not up`);
}
