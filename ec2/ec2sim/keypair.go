package ec2sim

import (
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha1"
	"crypto/x509"
	"encoding/base64"
	"encoding/binary"
	"encoding/pem"
	"fmt"
	"math/big"
	"slices"
	"strings"
	"time"
)

// keyPair is a key pair's public side; the endpoint forgets the private one as
// soon as it has handed it out.
type keyPair struct {
	id          string
	name        string
	fingerprint string
	public      string // as ~/.ssh/authorized_keys has it, without a comment
	createdAt   time.Time
}

// keyBits is the size of EC2's RSA keys.
const keyBits = 2048

func (c *cloud) keyNamed(name string) *keyPair {
	i := slices.IndexFunc(c.keys, func(k *keyPair) bool { return k.name == name })
	if i < 0 {
		return nil
	}
	return c.keys[i]
}

func (c *cloud) key(id string) (*keyPair, bool) {
	i := slices.IndexFunc(c.keys, func(k *keyPair) bool { return k.id == id })
	if i < 0 {
		return nil, false
	}
	return c.keys[i], true
}

type createKeyPairInput struct {
	KeyName           string             `query:"KeyName,required"`
	KeyType           string             `query:"KeyType"`
	KeyFormat         string             `query:"KeyFormat"`
	TagSpecifications []tagSpecification `query:"TagSpecification"`
}

type keyPairAnswer struct {
	KeyName     string   `xml:"keyName"`
	Fingerprint string   `xml:"keyFingerprint"`
	KeyPairID   string   `xml:"keyPairId"`
	Tags        set[tag] `xml:"tagSet"`
}

type createKeyPairOutput struct {
	reply
	keyPairAnswer
	Material string `xml:"keyMaterial"`
}

func (c *call) createKeyPair(in createKeyPairInput) (*createKeyPairOutput, error) {
	if in.KeyType != "" && in.KeyType != "rsa" || in.KeyFormat != "" && in.KeyFormat != "pem" {
		return nil, refuse("UnsupportedOperation", "The local endpoint makes RSA keys in PEM form only")
	}
	if in.KeyName == "" || len(in.KeyName) > 255 {
		return nil, invalidValue("KeyName", in.KeyName, "Expecting 1 to 255 characters.")
	}
	if c.keyNamed(in.KeyName) != nil {
		return nil, refuse("InvalidKeyPair.Duplicate", "The keypair '%s' already exists.", in.KeyName)
	}
	if err := checkTagSpecifications(in.TagSpecifications, "key-pair"); err != nil {
		return nil, err
	}
	if err := c.room(len(c.keys)); err != nil {
		return nil, err
	}
	if err := c.commit(); err != nil {
		return nil, err
	}
	private, err := rsa.GenerateKey(rand.Reader, keyBits)
	if err != nil {
		return nil, err
	}
	// EC2's fingerprint of a key that it made itself.
	der, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		return nil, err
	}
	k := &keyPair{id: newID("key"), name: in.KeyName, fingerprint: colons(sha1.Sum(der)), public: authorizedKey(private.PublicKey), createdAt: c.now}
	c.keys = append(c.keys, k)
	c.tag(k.id, tagsFor(in.TagSpecifications, "key-pair"))
	block := &pem.Block{Type: "RSA PRIVATE KEY", Bytes: x509.MarshalPKCS1PrivateKey(private)}
	return &createKeyPairOutput{keyPairAnswer: c.describeKey(k), Material: string(pem.EncodeToMemory(block))}, nil
}

// authorizedKey writes a key as OpenSSH does: RFC 4253, section 6.6.
func authorizedKey(k rsa.PublicKey) string {
	var blob []byte
	for _, part := range [][]byte{[]byte("ssh-rsa"), mpint(big.NewInt(int64(k.E))), mpint(k.N)} {
		blob = binary.BigEndian.AppendUint32(blob, uint32(len(part)))
		blob = append(blob, part...)
	}
	return "ssh-rsa " + base64.StdEncoding.EncodeToString(blob)
}

// mpint is a positive number with a bit for its sign: RFC 4251, section 5.
func mpint(n *big.Int) []byte {
	b := n.Bytes()
	if len(b) > 0 && b[0] >= 0x80 {
		b = append([]byte{0}, b...)
	}
	return b
}

func colons(sum [sha1.Size]byte) string {
	return strings.ReplaceAll(fmt.Sprintf("% x", sum[:]), " ", ":")
}

// maxNamed bounds how many key pairs, and how many security groups, there can
// be: EC2's quota of groups in a region.
const maxNamed = 2500

// room refuses one more of what there are already too many of.
func (c *call) room(have int) error {
	if have >= maxNamed {
		return refuse("ResourceLimitExceeded", "The maximum number of %d has been reached", maxNamed)
	}
	return nil
}

type describeKeyPairsInput struct {
	KeyNames   []string `query:"KeyName"`
	KeyPairIDs []string `query:"KeyPairId"`
	Filters    []filter `query:"Filter"`
	_          ignored  `query:"IncludePublicKey"`
}

type describeKeyPairsOutput struct {
	reply
	Keys set[keyPairInfo] `xml:"keySet"`
}

type keyPairInfo struct {
	keyPairAnswer
	KeyType   string `xml:"keyType"`
	CreatedAt string `xml:"createTime"`
}

var keyFields = fields[*keyPair]{
	"key-pair-id": one(func(k *keyPair) string { return k.id }),
	"key-name":    one(func(k *keyPair) string { return k.name }),
	"fingerprint": one(func(k *keyPair) string { return k.fingerprint }),
}

func (c *call) describeKeyPairs(in describeKeyPairsInput) (*describeKeyPairsOutput, error) {
	keep, err := compileFilters(in.Filters, keyFields, func(k *keyPair) map[string]string { return c.tags[k.id] })
	if err != nil {
		return nil, err
	}
	for _, name := range in.KeyNames {
		if c.keyNamed(name) == nil {
			return nil, refuse("InvalidKeyPair.NotFound", "The key pair '%s' does not exist", name)
		}
	}
	if _, err := lookUp(keyKind, in.KeyPairIDs, c.key); err != nil {
		return nil, err
	}
	out := &describeKeyPairsOutput{}
	for _, k := range c.keys {
		asked := len(in.KeyNames)+len(in.KeyPairIDs) == 0 ||
			slices.Contains(in.KeyNames, k.name) || slices.Contains(in.KeyPairIDs, k.id)
		if asked && keep(k) {
			out.Keys.Items = append(out.Keys.Items, keyPairInfo{c.describeKey(k), "rsa", stamp(k.createdAt)})
		}
	}
	return out, nil
}

func (c *call) describeKey(k *keyPair) keyPairAnswer {
	return keyPairAnswer{KeyName: k.name, Fingerprint: k.fingerprint, KeyPairID: k.id, Tags: c.describeTags(k.id)}
}
