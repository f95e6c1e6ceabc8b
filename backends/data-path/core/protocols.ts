/**
 * Numbers of the headers inside, and where their fields are:
 *
 *    Ethernet           IPv4 (RFC 791)                  IPv6 (RFC 8200)               TCP (RFC 9293)            UDP (RFC 768)
 *     0 destination      0 version, header words         0 version, class, flow label  0 source port             0 source port
 *     6 source           1 TOS                           4 payload length              2 destination port        2 destination port
 *    12 ethertype        2 total length                  6 next header                 4 sequence number         4 length
 *                        4 id                            7 hop limit                   8 acknowledgement         6 checksum
 *                        6 flags, fragment offset        8 source                     12 header words
 *                        8 TTL                          24 destination                13 CWR ECE URG ACK PSH RST SYN FIN
 *                        9 protocol                                                   14 window
 *                       10 header checksum                                            16 checksum
 *                       12 source, 16 destination                                     18 urgent pointer
 */

/** As they are loaded. */
export const ETHERTYPE_IPV4 = 0x0008;
export const ETHERTYPE_IPV6 = 0xdd86;
export const ETHERTYPE_ARP = 0x0608;

export const ICMP = 1;
export const TCP = 6;
export const UDP = 17;

/** Where the checksum is. */
export const TCP_CHECKSUM = 16;
export const UDP_CHECKSUM = 6;

export const FIN = 0x01;
export const PSH = 0x08;
export const ACK = 0x10;
export const CWR = 0x80;
