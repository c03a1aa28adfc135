import { createRequire } from 'node:module';
import { getSystemErrorName } from 'node:util';
import { AgentError, errorText } from './errors.ts';

/**
 * koffi: the one door to libc and to Debian's C libraries. A library that is missing is a state, told once in words that
 * name the package; it never stops the station. Native callbacks are not used anywhere.
 */

/** File name and Debian packages of each library that a driver may ask for. */
const LIBRARIES = {
  libc: { file: 'libc.so.6', package: 'libc6' },
  // Node exports the symbols of its own OpenSSL. Without RTLD_DEEPBIND ours would call into that one, and a process whose
  // two versions differ dies of it. Debian's C library has the flag; musl has not, and no libc.so.6 either.
  libcrypto: { file: 'libcrypto.so.3', package: 'libssl3 (Debian 13: libssl3t64)', deep: true },
  alsa: { file: 'libasound.so.2', package: 'libasound2 (Debian 13: libasound2t64)' },
  opus: { file: 'libopus.so.0', package: 'libopus0' },
} as const satisfies Record<string, LibraryFile>;

interface LibraryFile {
  readonly file: string;
  readonly package: string;
  /** Bind the library's own calls to itself before all else. */
  readonly deep?: boolean;
}

export type LibraryName = keyof typeof LIBRARIES;

export type Koffi = typeof import('koffi').default;
export type NativeLibrary = ReturnType<Koffi['load']>;

let loaded: Koffi | undefined;
const libraries = new Map<LibraryName, NativeLibrary>();

/**
 * koffi itself, loaded on first use so that tests, `--help` and a machine without it never pay.
 * @throws {AgentError} `native-unavailable` where there is no binary of koffi for this machine
 */
export function koffi(): Koffi {
  if (loaded !== undefined) return loaded;
  try {
    loaded = createRequire(import.meta.url)('koffi') as Koffi;
    return loaded;
  } catch (error) {
    throw new AgentError(
      'native-unavailable',
      `koffi cannot be loaded: ${errorText(error).split('\n', 1)[0]}`,
      undefined,
      { cause: error },
    );
  }
}

/**
 * Declare each function (`library.func`) once and keep it: koffi keeps every declaration for the life of the process.
 * @throws {AgentError} `native-unavailable`, naming the Debian package, when the library or koffi is missing
 */
export function openLibrary(name: LibraryName): NativeLibrary {
  const known = libraries.get(name);
  if (known !== undefined) return known;
  const { file, package: debianPackage, deep = false }: LibraryFile = LIBRARIES[name];
  // Outside the try: without koffi no Debian package helps.
  const native = koffi();
  if (deep) openLibrary('libc');
  try {
    const library = native.load(file, { deep });
    libraries.set(name, library);
    return library;
  } catch (error) {
    throw new AgentError(
      'native-unavailable',
      `${file} cannot be loaded`,
      `apt install ${debianPackage}`,
      { cause: error },
    );
  }
}

/** Bytes of a pointer, and of `long` and `size_t`: the word size that decides how C lays out its structs. */
export function pointerBytes(): 4 | 8 {
  return koffi().sizeof('void *') === 4 ? 4 : 8;
}

/** Name (`EAGAIN`) of the error that the C call just before left behind. Ask before anything else is called. */
export function lastErrorName(): string {
  return getSystemErrorName(-koffi().errno());
}
