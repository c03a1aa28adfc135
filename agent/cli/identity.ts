import { systemClock } from '../base/clock.ts';
import { systemRandom } from '../base/random.ts';
import { openIdentity } from '../identity/keystore.ts';

/** Driver: the id of the identity in a state folder, which is made if there is none. @throws {AgentError} from the keystore */
export async function identityOf(
  state: string,
  onProgress: (sentence: string) => void,
): Promise<string> {
  const identity = await openIdentity({
    state,
    clock: systemClock,
    random: systemRandom,
    onProgress: ({ made, of, elapsedMs }) => {
      onProgress(
        made === 0
          ? `making a new identity in ${state}; the keys take a while on a small board`
          : `key ${made} of ${of} after ${(elapsedMs / 1000).toFixed(1)} s`,
      );
    },
    onNotice: onProgress,
  });
  identity.devicePrivateKey.close();
  return identity.accountId;
}
