#!/bin/sh
# Draws the pictures of docs/pool.md again, from the checkout's folder: sh docs/images/pool.sh
set -e
qkv pool --data sample_data/sine.csv --band 0.95 -o docs/images/fit.svg
qkv pool --data sample_data/iris.csv --key petal_length --value species -o docs/images/classes.svg
qkv pool --data sample_data/iris.csv --key petal_length,petal_width --value sepal_length \
    -o docs/images/map.svg
for kernel in gaussian laplacian boxcar triangular epanechnikov; do
    qkv pool --data sample_data/sine.csv --score $kernel --bandwidth 1 -o docs/images/$kernel.svg
done
