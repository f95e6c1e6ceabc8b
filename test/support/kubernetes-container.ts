/** The manifest's containers as `docker run` takes them: what the kubelet would ask of Docker. */
import { at, list, ofKind, POD } from './kubernetes-manifest.ts';

export interface KubernetesContainer {
  readonly image: string;
  readonly options: readonly string[];
  readonly command: readonly string[];
  /** What is to be on the node before: path and the type that the manifest has for it. */
  readonly hostPaths: readonly { readonly path: string; readonly type: string }[];
}

function texts(value: unknown, path: string): readonly string[] {
  return list(value, path).map(String);
}

/** `role`: containers or initContainers, of which there is one each. `env`: what ConfigMap and node give it. */
export function kubernetesContainer(
  role: 'containers' | 'initContainers',
  env: Readonly<Record<string, string>>,
): KubernetesContainer {
  const set = ofKind('DaemonSet');
  const container = list(set, `${POD}.${role}`)[0];
  const command = texts(container, 'command');
  const volumes = new Map(list(set, `${POD}.volumes`).map((volume) => [at(volume, 'name'), volume]));
  const mounts = list(container, 'volumeMounts').flatMap((mount) => {
    const path = at(volumes.get(at(mount, 'name')), 'hostPath.path');
    const type = String(at(volumes.get(at(mount, 'name')), 'hostPath.type'));
    // A secret that is not there.
    if (typeof path !== 'string') return [];
    const readOnly = at(mount, 'readOnly') === true ? ':ro' : '';
    return [{ path, type, option: `--volume=${path}:${at(mount, 'mountPath')}${readOnly}` }];
  });
  return {
    image: String(at(container, 'image')),
    options: [
      ...(at(set, `${POD}.hostNetwork`) === true ? ['--network=host'] : []),
      ...security(container),
      ...mounts.map(({ option }) => option),
      ...command.slice(0, 1).map((program) => `--entrypoint=${program}`),
      ...Object.entries(env).map(([name, value]) => `--env=${name}=${value}`),
    ],
    command: [...command.slice(1), ...texts(container, 'args')],
    hostPaths: mounts,
  };
}

function security(container: unknown): readonly string[] {
  const context = at(container, 'securityContext');
  return [
    ...(at(context, 'readOnlyRootFilesystem') === true ? ['--read-only'] : []),
    ...(at(context, 'allowPrivilegeEscalation') === false ? ['--security-opt=no-new-privileges'] : []),
    ...texts(context, 'capabilities.drop').map((name) => `--cap-drop=${name}`),
    ...texts(context, 'capabilities.add').map((name) => `--cap-add=${name}`),
  ];
}
