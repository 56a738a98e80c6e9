/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * What our patches to the library ask the application: its verdict over a peer's chain, and the names of the
 * authorities whose certificates a client may show. Set before the first handshake. `context` is what
 * wolfSSL_SetCertCbCtx() was given.
 */
#ifndef SLUICE_HOOKS_H
#define SLUICE_HOOKS_H

#ifdef __cplusplus
extern "C" {
#endif

/* The layout of the library's own buffer (WOLFSSL_BUFFER_INFO). */
typedef struct SluiceCertificate {
    unsigned char* data;
    unsigned int size;
} SluiceCertificate;

enum { SLUICE_KEY_NONE, SLUICE_KEY_RSA, SLUICE_KEY_EC, SLUICE_KEY_ED25519 };

/* RSA and elliptic curves: DER of the SubjectPublicKeyInfo; Ed25519: the 32 bytes. */
typedef struct SluicePeerKey {
    int kind;
    const unsigned char* data;
    unsigned int size;
} SluicePeerKey;

typedef struct SluiceHooks {
    /* 0, and the key of the leaf; or the error whose alert ends the handshake. */
    int (*judge)(void* context, const SluiceCertificate* chain, int count, SluicePeerKey* key);
    /* The size of the list, and where it lies; 0: no names. */
    unsigned int (*authorities)(void* context, const unsigned char** list);
} SluiceHooks;

extern SluiceHooks sluice_hooks;

struct WOLFSSL;

/* Like wolfSSL_read(), but the bytes (one record's at most) are left where they were decrypted; sluice_taken() before
 * the next read says that they are not needed any more. */
int sluice_read(struct WOLFSSL* ssl, const unsigned char** plain);
void sluice_taken(struct WOLFSSL* ssl);

/* Like wolfSSL_write(), but the record is made where it leaves from and not handed to the send callback. begin() first
 * sends what has to go before (by that callback), and says at which offset of the record its plain bytes go; 0 or an error.
 * end() encrypts `size` of them; `room` is what there is from `record` on. Returns the size of the record, or an error. */
int sluice_record_begin(struct WOLFSSL* ssl, unsigned int* offset);
int sluice_record_end(struct WOLFSSL* ssl, unsigned char* record, unsigned int room, unsigned int offset, unsigned int size);

#ifdef __cplusplus
}
#endif

#endif
