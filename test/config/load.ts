import {
  type Config,
  type ConfigSources,
  formatProblems,
  type LoadedConfig,
  loadConfig,
} from '../../agent/config/config.ts';

const MISSING = Object.assign(new Error('ENOENT: no such file or directory'), { code: 'ENOENT' });

/** Load `text` as `/srv/doorward.yaml`, in an environment with a home and nothing else. */
export async function load(
  text: string | undefined,
  more: Partial<ConfigSources> = {},
): Promise<LoadedConfig> {
  return await loadConfig({
    file: text === undefined ? undefined : 'doorward.yaml',
    environment: { HOME: '/home/pi' },
    workingFolder: '/srv',
    read: async (path) => {
      if (path !== '/srv/doorward.yaml' || text === undefined) throw MISSING;
      return text;
    },
    ...more,
  });
}

export async function loadGood(
  text: string | undefined,
  more: Partial<ConfigSources> = {},
): Promise<Config> {
  const loaded = await load(text, more);
  if (!loaded.ok) throw new Error(formatProblems(loaded.problems));
  return loaded.config;
}

/** What a person is told. Empty when all is well. */
export async function complaints(
  text: string | undefined,
  more: Partial<ConfigSources> = {},
): Promise<string[]> {
  const loaded = await load(text, more);
  if (loaded.ok) return [];
  return formatProblems(loaded.problems).split('\n');
}
