/** Two subnets more than hosts: a subnet whose lease ran out is soon another's. */
const SPARE_SUBNETS = 2;

/** Of a fleet of `hosts`, as etcd has it. */
export function networkConfig(hosts: number): string {
  const range = { SubnetLen: 24, SubnetMin: '10.5.1.0', SubnetMax: `10.5.${hosts + SPARE_SUBNETS}.0` };
  return JSON.stringify({ Network: '10.5.0.0/16', ...range, Backend: { Type: 'vxlan' } });
}
