// A moment as people read it, in UTC. Counted out by hand: core may look at no clock, and a date of the map log reads the
// same on every node.

const DAY_MS = 86_400_000;
/** Days from 0000-03-01 to 1970-01-01. */
const DAYS_BEFORE_1970 = 719_468;
const DAYS_IN_400_YEARS = 146_097;
/** Of the dates that are written: up to the year 9999. */
const LAST_MS = 253_402_300_799_999;

/** `2026-11-23 12:25:16 UTC` of ms since 1970; empty where nobody noted the moment (0), or it is none. */
export function utcText(ms: number): string {
  if (!(ms > 0 && ms <= LAST_MS)) return '';
  const days = Math.floor(ms / DAY_MS);
  const seconds = Math.floor((ms - days * DAY_MS) / 1000);
  const clock = [Math.floor(seconds / 3600), Math.floor(seconds / 60) % 60, seconds % 60];
  return `${dayText(days)} ${clock.map((part) => twoDigits(part)).join(':')} UTC`;
}

/** Years that begin in March: the leap day is the last of its year. */
function dayText(days: number): string {
  const day = days + DAYS_BEFORE_1970;
  const era = Math.floor(day / DAYS_IN_400_YEARS);
  const ofEra = day - era * DAYS_IN_400_YEARS;
  const leaps = Math.floor(ofEra / 1460) - Math.floor(ofEra / 36_524) + Math.floor(ofEra / 146_096);
  const year = Math.floor((ofEra - leaps) / 365);
  const ofYear = ofEra - (365 * year + Math.floor(year / 4) - Math.floor(year / 100));
  const march = Math.floor((5 * ofYear + 2) / 153);
  const ofMonth = ofYear - Math.floor((153 * march + 2) / 5) + 1;
  const month = march < 10 ? march + 3 : march - 9;
  const ad = year + era * 400 + (month <= 2 ? 1 : 0);
  return `${String(ad).padStart(4, '0')}-${twoDigits(month)}-${twoDigits(ofMonth)}`;
}

function twoDigits(value: number): string {
  return String(value).padStart(2, '0');
}
