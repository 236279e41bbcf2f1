package main

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"crypto/sha512"
	"encoding/base64"
	"errors"
	"fmt"
	"hash"
	"strconv"
	"strings"
)

// scramClient is the client's side of SCRAM (RFC 5802), which sarama leaves to its user.
type scramClient struct {
	hash                    func() hash.Hash
	user, password, nonce   string
	step                    int
	firstBare, serverFirst  string
	expectedServerSignature []byte
}

func newScram(mechanism string) *scramClient {
	if mechanism == "SCRAM-SHA-512" {
		return &scramClient{hash: sha512.New}
	}
	return &scramClient{hash: sha256.New}
}

func (c *scramClient) Begin(user, password, _ string) error {
	raw := make([]byte, 18)
	if _, err := rand.Read(raw); err != nil {
		return err
	}
	c.user, c.password, c.nonce = user, password, base64.StdEncoding.EncodeToString(raw)
	return nil
}

func (c *scramClient) Step(challenge string) (string, error) {
	c.step++
	switch c.step {
	case 1:
		c.firstBare = "n=" + c.user + ",r=" + c.nonce
		return "n,," + c.firstBare, nil
	case 2:
		return c.proof(challenge)
	case 3:
		signature := base64.StdEncoding.EncodeToString(c.expectedServerSignature)
		if challenge != "v="+signature {
			return "", errors.New("the server's signature is wrong: " + challenge)
		}
		return "", nil
	}
	return "", errors.New("the exchange is over")
}

func (c *scramClient) Done() bool { return c.step >= 3 }

func (c *scramClient) proof(challenge string) (string, error) {
	fields := map[byte]string{}
	for _, field := range strings.Split(challenge, ",") {
		if len(field) > 2 {
			fields[field[0]] = field[2:]
		}
	}
	salt, err := base64.StdEncoding.DecodeString(fields['s'])
	if err != nil {
		return "", err
	}
	iterations, err := strconv.Atoi(fields['i'])
	if err != nil || !strings.HasPrefix(fields['r'], c.nonce) {
		return "", fmt.Errorf("bad challenge %q", challenge)
	}
	salted := c.salted(salt, iterations)
	clientKey := c.mac(salted, "Client Key")
	digest := c.hash()
	digest.Write(clientKey)
	withoutProof := "c=biws,r=" + fields['r']
	message := c.firstBare + "," + challenge + "," + withoutProof
	signature := c.mac(digest.Sum(nil), message)
	for i := range clientKey {
		clientKey[i] ^= signature[i]
	}
	c.expectedServerSignature = c.mac(c.mac(salted, "Server Key"), message)
	return withoutProof + ",p=" + base64.StdEncoding.EncodeToString(clientKey), nil
}

func (c *scramClient) mac(key []byte, message string) []byte {
	mac := hmac.New(c.hash, key)
	mac.Write([]byte(message))
	return mac.Sum(nil)
}

// salted is PBKDF2 with one block.
func (c *scramClient) salted(salt []byte, iterations int) []byte {
	block := c.mac([]byte(c.password), string(salt)+"\x00\x00\x00\x01")
	sum := append([]byte(nil), block...)
	for i := 1; i < iterations; i++ {
		block = c.mac([]byte(c.password), string(block))
		for j := range sum {
			sum[j] ^= block[j]
		}
	}
	return sum
}
