import { execFileSync, spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { pointerBytes } from '../../agent/base/native.ts';
import {
  cmsgLayout,
  iovecLayout,
  mmsghdrLayout,
  SOCKADDR_IN,
  SOCKADDR_IN6,
  SOCKADDR_UN,
  SOCKET_CONSTANTS,
} from '../../agent/base/socket-abi.ts';

/**
 * What the C compiler says about the structures that our drivers write by hand. The 32-bit half needs a compiler that
 * links with -m32 (Debian: gcc-multilib); the names of the tests say whether it was there.
 */

const HEADERS = [
  'sys/socket.h',
  'netinet/in.h',
  'netinet/udp.h',
  'sys/un.h',
  'sys/uio.h',
  'stddef.h',
  'stdio.h',
];

/** C expressions and what our tables hold for them. */
function expected(word: 4 | 8): Record<string, number> {
  const header = mmsghdrLayout(word);
  const cmsg = cmsgLayout(word);
  const inHeader = (name: keyof typeof header) => [
    `offsetof(struct mmsghdr, msg_hdr.${name})`,
    header[name],
  ];
  const members = (type: string, table: Readonly<Record<string, number>>) =>
    Object.entries(table).map(([name, at]) =>
      name === 'size' ? [`sizeof(${type})`, at] : [`offsetof(${type}, ${name})`, at],
    );
  return Object.fromEntries([
    ['sizeof(void *)', word],
    ['sizeof(long)', word],
    ['sizeof(struct mmsghdr)', header.size],
    inHeader('msg_name'),
    inHeader('msg_namelen'),
    inHeader('msg_iov'),
    inHeader('msg_iovlen'),
    inHeader('msg_control'),
    inHeader('msg_controllen'),
    inHeader('msg_flags'),
    ['offsetof(struct mmsghdr, msg_len)', header.msg_len],
    ['CMSG_SPACE(2)', cmsg.space],
    ['CMSG_LEN(2)', cmsg.length],
    ['offsetof(struct cmsghdr, cmsg_len)', cmsg.cmsg_len],
    ['offsetof(struct cmsghdr, cmsg_level)', cmsg.cmsg_level],
    ['offsetof(struct cmsghdr, cmsg_type)', cmsg.cmsg_type],
    ['(char *)CMSG_DATA((struct cmsghdr *)64) - (char *)64', cmsg.data],
    ...members('struct iovec', { ...iovecLayout(word) }),
    ...members('struct sockaddr_in', SOCKADDR_IN),
    ...members('struct sockaddr_in6', SOCKADDR_IN6),
    ...members('struct sockaddr_un', SOCKADDR_UN),
    ...Object.entries(SOCKET_CONSTANTS),
  ]);
}

function program(expressions: readonly string[]): string {
  return [
    '#define _GNU_SOURCE',
    ...HEADERS.map((header) => `#include <${header}>`),
    'int main(void) {',
    ...expressions.map((expression) => `  printf("%ld\\n", (long)(${expression}));`),
    '  return 0;',
    '}',
  ].join('\n');
}

let folder = '';
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'doorward-layout-'));
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));

function askCompiler(expressions: readonly string[], flags: readonly string[]) {
  const source = join(folder, 'layout.c');
  const binary = join(folder, 'layout');
  writeFileSync(source, program(expressions));
  execFileSync('cc', [...flags, '-Wall', '-Werror', '-o', binary, source]);
  const answers = execFileSync(binary, { encoding: 'utf8' }).trim().split('\n').map(Number);
  return Object.fromEntries(expressions.map((expression, i) => [expression, answers[i]]));
}

const has32Bit =
  spawnSync('cc', ['-m32', '-x', 'c', '-', '-o', '/dev/null'], {
    input: '#include <sys/socket.h>\nint main(void) { return 0; }\n',
  }).status === 0;

describe(`C structures (covered here: ${has32Bit ? '64 and 32 bit' : '64 bit alone, cc -m32 does not link: install gcc-multilib'})`, () => {
  const cases: [string, 4 | 8, string[]][] = [['64 bit', 8, ['-m64']]];
  if (has32Bit) cases.push(['32 bit', 4, ['-m32']]);
  if (process.arch === 'arm') cases.splice(0, cases.length, ['32 bit', 4, []]);
  if (process.arch === 'arm64') cases.splice(0, cases.length, ['64 bit', 8, []]);

  test.each(cases)('socket-abi.ts agrees with the headers on %s', (_name, word, flags) => {
    const table = expected(word);
    expect(askCompiler(Object.keys(table), flags)).toEqual(table);
  });

  test('koffi sees the word size of the process', () => {
    expect(pointerBytes()).toBe(process.arch === 'arm' ? 4 : 8);
  });
});
