// Whether enough of those who were asked are there (C1.3). Known as soon as enough have answered: the one that an alert
// is about is often among them, and never will.

/** True once `needed` of the questions were answered, false when too few are left to make it. Never rejects. */
export function doAnswer(asked: readonly Promise<unknown>[], needed: number): Promise<boolean> {
  let answers = 0;
  let failures = 0;
  return new Promise((resolve) => {
    const judge = (): void => {
      if (answers >= needed) resolve(true);
      else if (failures > asked.length - needed) resolve(false);
    };
    judge();
    for (const one of asked) {
      one.then(
        () => {
          answers += 1;
          judge();
        },
        () => {
          failures += 1;
          judge();
        },
      );
    }
  });
}
