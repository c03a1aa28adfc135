import { setFlagsFromString } from 'node:v8';

/**
 * Let V8 give memory back early instead of late. It is tuned for programs that have gigabytes: by default the space for
 * young objects grows to 48 MB and the rest to a multiple of what is alive, and both stay. With these a DHT node under
 * 1,000 requests a second keeps half the memory (docs/benchmarks.md), for some more and shorter collections.
 *
 * Both are looked at anew at each collection, so they may be set in a running process; an unknown flag does nothing.
 */
export function keepHeapLean(): void {
  // src/heap/new-spaces.cc, NewSpace::Grow: 1 MB of young objects and no more.
  setFlagsFromString('--semi-space-growth-factor=1');
  // src/heap/heap-controller.cc, MemoryController::GrowingFactor: collect when 20 % have come on top.
  setFlagsFromString('--heap-growing-percent=20');
}
