/** The lease of a vxlan host as flannel writes it: for peers that exist in etcd alone. */
export function vxlanLease(publicIp: string, mac: string): string {
  return `{"PublicIP":"${publicIp}","PublicIPv6":null,"BackendType":"vxlan","BackendData":{"VNI":1,"VtepMAC":"${mac}"}}`;
}
