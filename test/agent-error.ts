import { AgentError } from '../agent/base/errors.ts';

/** What `run` fails with. Anything else than an AgentError passes on. */
export function agentErrorOf(run: () => unknown): AgentError {
  try {
    run();
  } catch (error) {
    if (error instanceof AgentError) return error;
    throw error;
  }
  throw new Error('did not fail');
}
