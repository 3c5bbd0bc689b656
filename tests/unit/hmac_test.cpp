#include "wire/hmac.hpp"

#include <gtest/gtest.h>

#include "hex.hpp"

namespace {

using cohort::wire::Digest;
using cohort::wire::hmac;
using test::from_hex;
using test::rising_bytes;
using test::to_hex;

struct Known {
  std::string key;
  Digest digest;
  std::string code;
};

const std::string kWord = "abracadabra";
const std::string kNone;
const std::string kLong(200, 'k');  // longer than any digest's block
const std::string kAllBytes = rising_bytes(0, 256);

TEST(Hmac, GivesThePublishedCodes) {
  const std::string jefe = "what do ya want for nothing?";
  EXPECT_EQ(to_hex(*hmac(Digest::md5, "Jefe", jefe)), "750c783e6ab0b503eaa86e310a5db738");
  EXPECT_EQ(to_hex(*hmac(Digest::sha256, "Jefe", jefe)),
            "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843");
  EXPECT_EQ(to_hex(*hmac(Digest::sha384, "Jefe", jefe)),
            "af45d2e376484031617f78d2b58a6b1b9c7ef464f5a01b47e42ec3736322445e"
            "8e2240ca5e69e2c78b3239ecfab21649");
}

TEST(Hmac, GivesTheCodesThatPythonGivesForKeysOfAnyLength) {
  const Known table[] = {
      {kWord, Digest::md5, "d173db70324f6a5c5a935e096489e7ae"},
      {kWord, Digest::sha256, "e98a91e75dd9d99a5b540a8f1cc0c5152ab59b455d9b555cdec4b49179e07331"},
      {kWord, Digest::sha384,
       "aac0e9586c6231bc8ef1d9ea69060020417c5b7814199b9ab5b4dfc11f229596fdde639b76a4cbdf9e6ea698529"
       "d807e"},
      {kWord, Digest::sha3_256, "8e4a5bf50fd14f776c5502254f6fe7e51b619f3ae31db35b5244dc4d1e071e28"},
      {kWord, Digest::sha3_384,
       "654af36ffddbb40915b4d6b03c7e618e280ca14f5537f45ba4928fde3d574ead1017eb382affbfef9a27ef3942f"
       "7da70"},
      {kNone, Digest::md5, "bfe2a52ecad7821f3212103e461f04c6"},
      {kNone, Digest::sha256, "3f3c99c935a0a86f2613d2c4edcc21ad056f0ad4e6ec76b3fee1cba315200fc9"},
      {kNone, Digest::sha384,
       "76e4acec4c806e141a19dc03f77f4769e02ccb6a63469697e996413f934e3bb6b1ffc8fa6ded6d4c17c3fd38eea"
       "f4371"},
      {kNone, Digest::sha3_256, "a2e71a3d66f5ad083b8542e8b22394a20a42783b7c8f2f36e22b9c6e6badb3cc"},
      {kNone, Digest::sha3_384,
       "4d5216804096e58f1c029b4f682e67650cf86126ff29c8baeccc2ab527682ad17f9dd326bbc472449ad50d82c66"
       "61c5e"},
      {kLong, Digest::md5, "5ffc8bcde9a174bcd6b7f6bbffaef42d"},
      {kLong, Digest::sha256, "33c99616fbb65244edd2e38729b27cd45474af1c70abbf8390d7b93578a81758"},
      {kLong, Digest::sha384,
       "8842fcd20455c005ab9967eed088c404e3a709b9bb62f6d4414c9224d836a33b1a201e1dacb6b7d76d72d837873"
       "53ae8"},
      {kLong, Digest::sha3_256, "dc772bab56b06b29a300a20eea1072d9002cca9221cdf3fe48162cd360bf67b1"},
      {kLong, Digest::sha3_384,
       "48bfe60ce3101d8e07de5a93610ac428f951710f885dfd06dda01b58e674495c8d050c7fb56914b2ecc2bb140b7"
       "fde84"},
      {kAllBytes, Digest::md5, "b966895e750c08015d8bdddb61bb6fcc"},
      {kAllBytes, Digest::sha256,
       "b6b039270cf30e83baa52d836af5d3fa2f4a7123ff0806a32998b87d8b501663"},
      {kAllBytes, Digest::sha384,
       "b2cf1d180dd00fb5c74ab24fc5a35b4737af9d2f76998fed022554a37decea4d687e8ef39844ab05687177abbc9"
       "f691c"},
      {kAllBytes, Digest::sha3_256,
       "5dd91aa0db1305d9338de484345588a4299030c846ea4379e6f4869ae4e87105"},
      {kAllBytes, Digest::sha3_384,
       "912b20f310ba178a619280e8cd107a2bc5a87e61eb54e8c07dbd4c5a53e38f8a7da4ed88fabd7f76453a175c910"
       "22474"},
  };
  for (const auto& [key, digest, code] : table) {
    const std::string name(name_of(digest));
    const auto made = hmac(digest, key, "{" + name + "}" + rising_bytes(0x40, 40));
    ASSERT_TRUE(made) << name;
    EXPECT_EQ(to_hex(*made), code) << name << ", a key of " << key.size() << " bytes";
  }
}

TEST(Hmac, OfNothingUnderNoKeyIsACodeToo) {
  EXPECT_EQ(to_hex(*hmac(Digest::sha256, {}, {})),
            "b613679a0814d9ec772f95d778c35fc5ff1697c493715653c6c712144292c5ad");
}

TEST(Hmac, DigestsHaveTheirExactNamesAndNoOthers) {
  for (Digest digest : cohort::wire::kDigests)
    EXPECT_EQ(cohort::wire::digest_named(name_of(digest)), digest);
  for (const char* name : {"", "sha1", "sha512", "SHA256", "sha3-256", "sha256 ", "sha25"})
    EXPECT_EQ(cohort::wire::digest_named(name), std::nullopt) << name;
}

TEST(Hmac, SecretsAreEqualWhenAllTheirBytesAre) {
  using cohort::wire::equal_secrets;
  EXPECT_TRUE(equal_secrets("", ""));
  EXPECT_TRUE(equal_secrets("abc", "abc"));
  EXPECT_FALSE(equal_secrets("abc", "abd"));
  EXPECT_FALSE(equal_secrets("abc", "ab"));
  EXPECT_FALSE(equal_secrets("", "a"));
  EXPECT_FALSE(equal_secrets(from_hex("0000"), from_hex("0001")));
}

}  // namespace
