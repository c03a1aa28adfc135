/**
 * The C structures of Linux sockets that our drivers write by hand, as offsets in bytes. Members keep the names of
 * their headers. Sizes and offsets are asserted against the C compiler in `test/interop/native-layout.test.ts`.
 */

/** <sys/uio.h> struct iovec */
export interface IovecLayout {
  readonly size: number;
  readonly iov_base: number;
  readonly iov_len: number;
}

/** <sys/socket.h> struct mmsghdr: a struct msghdr and what the call made of it. */
export interface MmsghdrLayout {
  readonly size: number;
  readonly msg_name: number;
  readonly msg_namelen: number;
  readonly msg_iov: number;
  readonly msg_iovlen: number;
  readonly msg_control: number;
  readonly msg_controllen: number;
  readonly msg_flags: number;
  readonly msg_len: number;
}

/** Word size of the process, `pointerBytes()` of native.ts. */
export type PointerBytes = 4 | 8;

/** Both members are as wide as a pointer. */
export function iovecLayout(pointerBytes: PointerBytes): IovecLayout {
  return { size: 2 * pointerBytes, iov_base: 0, iov_len: pointerBytes };
}

/** glibc: every member starts at a multiple of the pointer, narrower ones are padded. */
export function mmsghdrLayout(pointerBytes: PointerBytes): MmsghdrLayout {
  return {
    size: 8 * pointerBytes,
    msg_name: 0,
    msg_namelen: pointerBytes,
    msg_iov: 2 * pointerBytes,
    msg_iovlen: 3 * pointerBytes,
    msg_control: 4 * pointerBytes,
    msg_controllen: 5 * pointerBytes,
    msg_flags: 6 * pointerBytes,
    msg_len: 7 * pointerBytes,
  };
}

/** <sys/socket.h> struct cmsghdr with one `uint16_t` behind it. */
export interface CmsgLayout {
  /** CMSG_SPACE(2): what it takes, padding included. */
  readonly space: number;
  /** CMSG_LEN(2): what `cmsg_len` says. */
  readonly length: number;
  readonly cmsg_len: number;
  readonly cmsg_level: number;
  readonly cmsg_type: number;
  /** CMSG_DATA */
  readonly data: number;
}

/** glibc: `cmsg_len` is a size_t, the data begin at a multiple of the pointer. */
export function cmsgLayout(pointerBytes: PointerBytes): CmsgLayout {
  const data = pointerBytes + 8;
  return {
    space: data + pointerBytes,
    length: data + 2,
    cmsg_len: 0,
    cmsg_level: pointerBytes,
    cmsg_type: pointerBytes + 4,
    data,
  };
}

/** <netinet/in.h> struct sockaddr_in: family in host order, port and address in network order. */
export const SOCKADDR_IN = { size: 16, sin_family: 0, sin_port: 2, sin_addr: 4 } as const;

/** <netinet/in.h> struct sockaddr_in6 */
export const SOCKADDR_IN6 = {
  size: 28,
  sin6_family: 0,
  sin6_port: 2,
  sin6_flowinfo: 4,
  sin6_addr: 8,
  sin6_scope_id: 24,
} as const;

/** <sys/un.h> struct sockaddr_un. An abstract name starts with a zero byte and has no end mark: unix(7). */
export const SOCKADDR_UN = { size: 110, sun_family: 0, sun_path: 2 } as const;

/** <sys/socket.h>, <netinet/in.h>, <netinet/udp.h>: equal on every architecture that we build for (x86, ARM, RISC-V). */
export const SOCKET_CONSTANTS = {
  AF_UNIX: 1,
  AF_INET: 2,
  AF_INET6: 10,
  SOCK_DGRAM: 2,
  SOCK_NONBLOCK: 0o4000,
  SOCK_CLOEXEC: 0o2000000,
  SOL_SOCKET: 1,
  SO_SNDBUF: 7,
  SO_RCVBUF: 8,
  IPPROTO_IPV6: 41,
  IPV6_V6ONLY: 26,
  IPPROTO_UDP: 17,
  UDP_SEGMENT: 103,
  MSG_TRUNC: 0x20,
  MSG_DONTWAIT: 0x40,
  MSG_NOSIGNAL: 0x4000,
} as const;
