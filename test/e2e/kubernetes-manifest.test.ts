import test from 'ava';
import { at, documents, list, MANIFEST, ofKind, POD } from '../support/kubernetes-manifest.ts';
import { kubernetesSchema } from '../support/kubernetes-schema.ts';
import { isLacking } from '../support/lacking.ts';
import { readRepository } from '../support/repository.ts';

const found = kubernetesSchema();
const lack = found.ok ? undefined : found.reason;

/** `path message` of everything that the API would refuse in the manifest. */
function problems(text: string): readonly string[] {
  return documents(text).flatMap((document) => {
    const { apiVersion, kind } = document;
    const validate = found.ok ? found.schema(String(apiVersion), String(kind)) : undefined;
    if (validate === undefined) return [`no such kind: ${apiVersion}/${kind}`];
    return validate(document) ? [] : (validate.errors ?? []).map((e) => `${kind}${e.instancePath} ${e.keyword}`);
  });
}

test('the Kubernetes API takes every object of the manifest', (t) => {
  if (isLacking(t, lack)) return;
  t.deepEqual(problems(MANIFEST), []);
});

test('the check refuses an unknown field, a wrong type, a missing field and an unknown kind', (t) => {
  if (isLacking(t, lack)) return;
  t.deepEqual(problems(MANIFEST.replace('hostNetwork:', 'hostNetworks:')), [
    'DaemonSet/spec/template/spec additionalProperties',
  ]);
  t.deepEqual(problems(MANIFEST.replace('hostNetwork: true', 'hostNetwork: sure')), [
    'DaemonSet/spec/template/spec/hostNetwork type',
  ]);
  t.deepEqual(problems(MANIFEST.replace('    - name: tun\n          hostPath', '    - hostPath')).length, 1);
  t.deepEqual(problems(MANIFEST.replace('kind: DaemonSet', 'kind: DemonSet')), ['no such kind: apps/v1/DemonSet']);
});

test('no container is privileged; the agent has NET_ADMIN and NET_RAW, the init container NET_ADMIN', (t) => {
  const set = ofKind('DaemonSet');
  const wanted = { containers: ['NET_ADMIN', 'NET_RAW'], initContainers: ['NET_ADMIN'] };
  for (const [role, capabilities] of Object.entries(wanted)) {
    const containers = list(set, `${POD}.${role}`);
    t.is(containers.length, 1);
    t.is(at(containers[0], 'securityContext.privileged'), false);
    t.is(at(containers[0], 'securityContext.allowPrivilegeEscalation'), false);
    t.deepEqual(at(containers[0], 'securityContext.capabilities'), { drop: ['ALL'], add: capabilities });
  }
});

test('the pod is on the host network, without an API token, and knows its node', (t) => {
  const set = ofKind('DaemonSet');
  t.is(at(set, `${POD}.hostNetwork`), true);
  t.is(at(set, `${POD}.automountServiceAccountToken`), false);
  t.is(at(ofKind('ServiceAccount'), 'automountServiceAccountToken'), false);
  t.deepEqual(list(set, `${POD}.containers.0.env`), [
    { name: 'NODE_NAME', valueFrom: { fieldRef: { fieldPath: 'spec.nodeName' } } },
  ]);
});

test('the host lends the agent what it needs, at the same paths', (t) => {
  const set = ofKind('DaemonSet');
  const volumes = new Map(list(set, `${POD}.volumes`).map((v) => [at(v, 'name'), at(v, 'hostPath.path')]));
  const mounts = list(set, `${POD}.containers.0.volumeMounts`);
  for (const mount of mounts) t.true(volumes.has(at(mount, 'name')), String(at(mount, 'name')));
  const lent = mounts.filter((mount) => volumes.get(at(mount, 'name')) === at(mount, 'mountPath'));
  const paths = lent.map((mount) => at(mount, 'mountPath'));
  t.deepEqual(paths, ['/run/flannel', '/var/lib/tartan', '/etc/machine-id', '/run/xtables.lock', '/dev/net/tun']);
  t.is(at(list(set, `${POD}.initContainers.0.volumeMounts`)[0], 'name'), 'sysctl-net');
  t.is(volumes.get('sysctl-net'), '/proc/sys/net');
});

test('names and numbers that must agree do', (t) => {
  const set = ofKind('DaemonSet');
  const { version } = JSON.parse(readRepository('package.json'));
  t.is(at(set, `${POD}.containers.0.image`), `tartan:${version}`);
  t.is(at(set, `${POD}.initContainers.0.image`), `tartan:${version}`);
  t.deepEqual(at(set, 'spec.selector.matchLabels'), at(set, 'spec.template.metadata.labels'));
  t.is(at(set, `${POD}.containers.0.envFrom.0.configMapRef.name`), at(ofKind('ConfigMap'), 'metadata.name'));
  t.is(at(set, `${POD}.serviceAccountName`), at(ofKind('ServiceAccount'), 'metadata.name'));
  const port = at(set, `${POD}.containers.0.ports.0.containerPort`);
  t.is(at(ofKind('ConfigMap'), 'data.TARTAN_HEALTHZ_PORT'), String(port));
  for (const probe of ['readinessProbe', 'livenessProbe']) {
    t.is(at(set, `${POD}.containers.0.${probe}.httpGet.port`), at(set, `${POD}.containers.0.ports.0.name`));
    t.is(at(set, `${POD}.containers.0.${probe}.httpGet.host`), at(ofKind('ConfigMap'), 'data.TARTAN_HEALTHZ_IP'));
  }
});

test('a ConfigMap holds text only, and every object lies in one namespace', (t) => {
  for (const value of Object.values(at(ofKind('ConfigMap'), 'data') ?? {})) t.is(typeof value, 'string');
  for (const document of documents(MANIFEST)) {
    const name = at(document, document['kind'] === 'Namespace' ? 'metadata.name' : 'metadata.namespace');
    t.is(name, 'kube-tartan');
  }
});
