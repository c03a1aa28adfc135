/** A server that helps two stations find a way. `turn` relays over UDP only (webrtc-sip.md 5). */
export interface IceServer {
  readonly kind: 'stun' | 'turn';
  readonly host: string;
  readonly port: number;
  readonly username?: string;
  readonly password?: string;
}
